"""What telemetry costs a sub-task: CPU microseconds of the whole engine, with and without.

python -m bench.telemetry --out report.json [--executions N] [--rounds R]

Six sub-tasks an execution, answered at once in this process, so that nothing hides the difference. The ways are
measured in turns and the median round counts. Spans go through the SDK's batch processor to an exporter that drops
them, so that its thread's CPU time counts and no collector does.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from bench.report import write_report
from orchestai.config import Project, Settings, TelemetryConfig, load_project
from orchestai.contracts import (
    Assignment,
    Instruction,
    Plan,
    Subtask,
    Worker,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
    WorkflowGraph,
)
from orchestai.engine import Engine
from orchestai.prompts import PromptLibrary
from orchestai.telemetry import NoTelemetry, Telemetry, open_telemetry
from orchestai.telemetry.tracing import Tracing
from orchestai.telemetry.watch import LiveTelemetry

_DIAMOND: tuple[tuple[int, ...], ...] = ((), (0,), (0,), (1, 2), (1,), (3, 4))
_INSTRUCTION = Instruction(text="Measure what it costs")


class _Instant:
    def __init__(self, name: str) -> None:
        self.profile = WorkerProfile(name=name, description="answers at once", model=name)

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        return WorkerOutput(content="ok", cost=1e-6, metadata={"input_tokens": 12, "output_tokens": 3})

    async def aclose(self) -> None:
        return None


class _Drop(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.telemetry", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--executions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    results = measure(options.executions, options.rounds)
    write_report(
        options.out,
        bench="telemetry",
        data={"executions": options.executions, "rounds": options.rounds, "subtasks": len(_DIAMOND)},
        sha256="",
        seed=None,
        results=results,
    )
    for way, number in results["us_per_subtask"].items():
        print(f"{way:14} {number:8.1f} us a sub-task   {results['added_us_per_subtask'][way]:+7.1f}")
    return 0


def measure(executions: int, rounds: int) -> dict[str, Any]:
    """Return CPU microseconds a sub-task by way, and what each adds to none at all."""
    project = load_project()
    ways: dict[str, Callable[[], Telemetry | None]] = {
        "none": lambda: None,
        "off": NoTelemetry,
        "metrics": lambda: open_telemetry(TelemetryConfig(), Settings.from_mapping({})),
        "sampled_out": lambda: _traced(ALWAYS_OFF),
        "spans": lambda: _traced(ALWAYS_ON),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, make in ways.items():
            telemetry = make()
            taken = asyncio.run(_round(project, telemetry, executions))
            if telemetry is not None:
                telemetry.close()
            if number:  # the first round warms up
                times[way].append(taken)
    medians = {way: statistics.median(taken) for way, taken in times.items()}
    return {
        "us_per_subtask": medians,
        "added_us_per_subtask": {way: median - medians["none"] for way, median in medians.items()},
    }


def _traced(sampler: Sampler) -> Telemetry:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Drop(), max_queue_size=65_536))
    return LiveTelemetry(tracing=Tracing(provider, close=provider.shutdown))


async def _round(project: Project, telemetry: Telemetry | None, executions: int) -> float:
    names = [f"w{node}" for node in range(len(_DIAMOND))]
    plan = Plan(
        graph=WorkflowGraph(
            nodes=tuple(Subtask(task_type="generation", description=name) for name in names), dependencies=_DIAMOND
        ),
        assignments=tuple(Assignment(worker=name) for name in names),
        planner="given",
    )
    workers: dict[str, Worker] = {name: _Instant(name) for name in names}
    if telemetry is not None:
        workers = {name: telemetry.worker(worker) for name, worker in workers.items()}
    engine = Engine(workers, PromptLibrary(project.prompts), project.tasks, project.engine)
    started = time.process_time()
    for _ in range(executions):
        if telemetry is None:
            await engine.execute(_INSTRUCTION, plan, execution_id="e")
            continue
        with telemetry.execution("e", _INSTRUCTION) as watch:
            watch.planned(plan)
            watch.finished(await engine.execute(_INSTRUCTION, plan, execution_id="e", on_event=watch.on_event))
    return (time.process_time() - started) / (executions * len(_DIAMOND)) * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
