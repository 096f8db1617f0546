"""How much the engine adds to the calls themselves, with log and state on disk, against peers in the same run.

python -m bench.engine --out report.json [--seconds S] [--rounds N] [--runner NAME ...]

Every runner carries out the same workflow: 6 calls of 50 ms, the longest chain 4 calls (200 ms), against a stub in
the OpenAI format in a process and, where there are two, on a core of its own. Runners take turns, each in a new
process. `ideal` is what the calls alone allow: concurrency / 200 ms. LangGraph comes with
`pip install -r bench/peers.txt`; without it its row is null.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import operator
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from bench.command import run_command
from bench.report import write_report
from bench.stub import running_stub

DEPENDENCIES = ((), (0,), (0,), (1, 2), (), (3, 4))
CALLS = len(DEPENDENCIES)
DEPTH = 4
DELAY_MS = 50.0
PROMPT = "Write one sentence about part {node} of the report, for a busy reader."
RUNNERS = ("orchestai", "langgraph", "langgraph_openai", "asyncio", "asyncio_aiohttp")
C64 = 64

Workflow = Callable[[], Awaitable[None]]


class State(TypedDict):
    """What LangGraph hands from node to node."""

    outputs: Annotated[dict[int, str], operator.or_]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, or one runner of it; return the exit status."""
    options = _parser().parse_args(argv)
    if options.stub is not None:
        print(json.dumps(_measure_here(options)))
        return 0
    return run_command(lambda: run(options), print_summary)


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a runner."""
    for name, values in report["results"]["runners"].items():
        if values is None:
            print(f"{name:16} not installed")
        else:
            print(
                f"{name:16} c1 {values['c1']['p50_ms']:7.1f} ms ({values['overhead_pct_c1']:+5.1f} %)   "
                f"c64 {values['c64']['workflows_per_s']:6.1f} workflows/s   "
                f"{values['c64']['cpu_ms_per_call']:.2f} CPU-ms a call   {values['c64']['peak_rss_mb']:.0f} MB"
            )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all runners in turn and write the report."""
    critical_ms = DEPTH * DELAY_MS
    found: dict[str, dict[str, Any] | None] = {}
    with running_stub(DELAY_MS) as stub:
        _pin(stub.pid, core=1)
        for name in options.runner:
            if name.startswith("langgraph") and importlib.util.find_spec("langgraph") is None:
                found[name] = None
                continue
            c1 = [_in_process(name, stub.base_url, 1, options.seconds / 2) for _ in range(options.rounds)]
            c64 = [_in_process(name, stub.base_url, C64, options.seconds) for _ in range(options.rounds)]
            one, many = _median(c1, "p50_ms"), _median(c64, "workflows_per_s")
            found[name] = {"c1": one, "c64": many, "overhead_pct_c1": 100 * (one["p50_ms"] / critical_ms - 1)}
    ideal = C64 / (critical_ms / 1000)
    ours = found.get("orchestai")
    rates = {name: values and values["c64"]["workflows_per_s"] for name, values in found.items()}
    return write_report(
        options.out,
        bench="engine",
        data={"workflow": {"dependencies": DEPENDENCIES, "call_ms": DELAY_MS}, "cores": _cores()},
        sha256="",
        seed=0,
        results={
            "overhead_pct_c1": ours and ours["overhead_pct_c1"],
            "workflows_per_s_c64": {**rates, "ideal": ideal},
            "share_of_ideal_c64": ours and ours["c64"]["workflows_per_s"] / ideal,
            "cpu_ms_per_call": ours and ours["c64"]["cpu_ms_per_call"],
            "peak_rss_mb": ours and ours["c64"]["peak_rss_mb"],
            "runners": found,
        },
    )


def _in_process(name: str, url: str, concurrency: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.engine", "--stub", url, "--runner", name, "--out", os.devnull]
    command += ["--concurrency", str(concurrency), "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure_here(options: argparse.Namespace) -> dict[str, Any]:
    _pin(0, core=0)
    (name,) = options.runner
    with tempfile.TemporaryDirectory() as scratch:
        return _START[name](options.stub, Path(scratch), options.concurrency, options.seconds)


async def _drive(workflow: Workflow, concurrency: int, seconds: float) -> dict[str, Any]:
    """Keep `concurrency` workflows in flight for that long, after one warm round."""
    await asyncio.gather(*(workflow() for _ in range(concurrency)))
    latencies: list[float] = []
    started, cpu = time.perf_counter(), time.process_time()
    deadline = started + seconds

    async def keep_busy() -> None:
        while time.perf_counter() < deadline:
            began = time.perf_counter()
            await workflow()
            latencies.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(keep_busy() for _ in range(concurrency)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    latencies.sort()
    return {
        "workflows": len(latencies),
        "workflows_per_s": len(latencies) / elapsed,
        "p50_ms": statistics.median(latencies),
        "p99_ms": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))],
        "cpu_ms_per_call": cpu * 1000 / (len(latencies) * CALLS),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _orchestai(url: str, scratch: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    """The whole of it: state of executions and log on disk, prompts from templates, limits, retries."""
    from orchestai.app.runtime import build_runtime
    from orchestai.config import Settings, load_project
    from orchestai.contracts import Assignment, Instruction, Plan, Subtask, WorkflowGraph

    settings = Settings.from_mapping(
        {
            "ORCHESTAI_HOME": str(scratch),
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "x",
            "OPENAI_MODEL": "stub",
            "ORCHESTAI_OPENAI_CONCURRENCY": str(2 * C64),
        }
    )
    project = load_project(settings=settings)
    nodes = tuple(Subtask(task_type="generation", description=PROMPT.format(node=node)) for node in range(CALLS))
    worker = next(worker.name for worker in project.workers.profiles() if worker.base_url == url)
    plan = Plan(
        graph=WorkflowGraph(nodes=nodes, dependencies=DEPENDENCIES),
        assignments=tuple(Assignment(worker=worker) for _ in nodes),
        planner="given",
    )

    async def workflow() -> None:
        execution = await runtime.aexecute(Instruction(text="Write the report."), plan)
        assert execution.result.completed, execution.result.error

    runtime = build_runtime(project, learned=False)
    try:
        return runtime.call(_drive(workflow, concurrency, seconds))
    finally:
        runtime.close()


def _asyncio(url: str, _scratch: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    """Bare asyncio over the `openai` package on aiohttp; nothing is kept."""

    async def measure() -> dict[str, Any]:
        call, close = _openai_call(url)
        result = await _drive(lambda: _walk(call), concurrency, seconds)
        await close()
        return result

    return asyncio.run(measure())


def _asyncio_aiohttp(url: str, _scratch: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    """Bare asyncio over bare aiohttp: what Python can do at most; nothing is checked, nothing is kept."""
    import aiohttp

    async def measure() -> dict[str, Any]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def call(prompt: str) -> str:
                body = {"model": "stub", "messages": [{"role": "user", "content": prompt}]}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    answer = await response.json()
                return str(answer["choices"][0]["message"]["content"])

            return await _drive(lambda: _walk(call), concurrency, seconds)

    return asyncio.run(measure())


def _langgraph(url: str, _scratch: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    """LangGraph over our own worker, so that both have the same HTTP client; nothing is kept."""
    from pydantic import SecretStr

    from orchestai.contracts import WorkerProfile, WorkerRequest
    from orchestai.workers import OpenAIWorker

    profile = WorkerProfile(name="stub", model="stub", description="Answers after a fixed time.", base_url=url)

    async def measure() -> dict[str, Any]:
        worker = OpenAIWorker(profile, base_url=url, api_key=SecretStr("x"))

        async def call(prompt: str) -> str:
            output = await worker.run(WorkerRequest(task_type="generation", prompt=prompt))
            return str(output.content)

        result = await _drive(_graph_workflow(call), concurrency, seconds)
        await worker.aclose()
        return result

    return asyncio.run(measure())


def _langgraph_openai(url: str, _scratch: Path, concurrency: int, seconds: float) -> dict[str, Any]:
    """LangGraph over the `openai` package on aiohttp; nothing is kept."""

    async def measure() -> dict[str, Any]:
        call, close = _openai_call(url)
        result = await _drive(_graph_workflow(call), concurrency, seconds)
        await close()
        return result

    return asyncio.run(measure())


def _openai_call(url: str) -> tuple[Callable[[str], Awaitable[str]], Callable[[], Awaitable[None]]]:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    client = AsyncOpenAI(base_url=url, api_key="x", max_retries=0, http_client=DefaultAioHttpClient())

    async def call(prompt: str) -> str:
        completion = await client.chat.completions.create(
            model="stub", messages=[{"role": "user", "content": prompt}], max_tokens=256, temperature=0
        )
        return str(completion.choices[0].message.content)

    return call, client.close


async def _walk(call: Callable[[str], Awaitable[str]]) -> None:
    """Run the graph with one task a node that waits for its parents' tasks."""
    tasks: list[asyncio.Task[str]] = []

    async def node(number: int) -> str:
        parents = await asyncio.gather(*(tasks[parent] for parent in DEPENDENCIES[number]))
        return await call("\n".join([PROMPT.format(node=number), *parents]))

    tasks.extend(asyncio.create_task(node(number)) for number in range(CALLS))
    await asyncio.gather(*tasks)


def _graph_workflow(call: Callable[[str], Awaitable[str]]) -> Workflow:
    langgraph = importlib.import_module("langgraph.graph")  # by name, for it is nothing that the project depends on
    graph: Any = langgraph.StateGraph(State)

    def make(number: int) -> Callable[[Any], Awaitable[dict[str, Any]]]:
        async def node(state: Any) -> dict[str, Any]:
            parents = [state["outputs"][parent] for parent in DEPENDENCIES[number]]
            return {"outputs": {number: await call("\n".join([PROMPT.format(node=number), *parents]))}}

        return node

    for number, parents in enumerate(DEPENDENCIES):
        graph.add_node(str(number), make(number))
        graph.add_edge([str(parent) for parent in parents] if parents else langgraph.START, str(number))
    graph.add_edge(str(CALLS - 1), langgraph.END)
    compiled = graph.compile()

    async def workflow() -> None:
        state = await compiled.ainvoke({"outputs": {}})
        assert len(state["outputs"]) == CALLS

    return workflow


_START: dict[str, Callable[[str, Path, int, float], dict[str, Any]]] = {
    "orchestai": _orchestai,
    "langgraph": _langgraph,
    "langgraph_openai": _langgraph_openai,
    "asyncio": _asyncio,
    "asyncio_aiohttp": _asyncio_aiohttp,
}


def _median(rounds: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return sorted(rounds, key=lambda values: float(values[key]))[len(rounds) // 2]


def _pin(pid: int, *, core: int) -> None:
    """Keep a process to one core where there are two, so that stub and runner do not take each other's time."""
    usable = _usable_cores()
    if len(usable) > 1:
        os.sched_setaffinity(pid, {usable[core]})


def _usable_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _cores() -> str:
    apart = "stub on the second core, runner (with its log and state threads) on the first"
    return apart if len(_usable_cores()) > 1 else "stub and runner share one core"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.engine", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--runner", nargs="+", choices=RUNNERS, default=list(RUNNERS), help="whom to measure")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one measurement at 64")
    parser.add_argument("--rounds", type=int, default=3, help="measurements a runner; the median is reported")
    parser.add_argument("--stub", help=argparse.SUPPRESS)
    parser.add_argument("--concurrency", type=int, default=1, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
