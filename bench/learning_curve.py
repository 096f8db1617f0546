"""Five simulated days of traffic, with learning over night and without: success rate and cost by day.

    python -m bench.learning_curve --out report.json [--plot learning_curve.png]

Each day brings instructions of the starter corpus that no day before has seen. They are planned and run on simulated
workers, whose success, prices and times are those of their profiles. Without learning, the rules plan and the cheapest
worker is taken. With learning, the plans of the day's instructions are mended by a person over night (they are those
of the corpus) and run again on several workers (`orchestai collect`, whose price is shown beside); then everything
that was logged is learned from. `routing` learns who does what well (job `train_router`, no registry); rules go on
planning. `all` learns Phase 1 too, but for the templates that the corpus holds out: the gates judge by those whether
planner and router together serve from the next morning on. What they refuse does not. All sides see the same
instructions, workers and seed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import data_sha256, write_report
from bench.starter import CORPUS
from orchestai.app.collection import reference_answers, starter_items
from orchestai.app.learning import train_phase1
from orchestai.app.places import (
    execution_tables,
    executions_folder,
    phase1_folder,
    router_folder,
    training_folder,
)
from orchestai.app.promotion import CandidateReport, policy_of, release_candidate
from orchestai.app.routing import router_rows, train_router_on, write_outcome_tables
from orchestai.app.runtime import Runtime, open_runtime
from orchestai.config import Project, Settings, load_project
from orchestai.contracts import ExecutionResult
from orchestai.importers.starter import StarterRecord, read_starter
from orchestai.logs import ExecutionSource, ingest_day, list_days
from orchestai.registry import open_registry, read_pointer
from orchestai.registry.release import promote
from orchestai.training.collect import collect
from orchestai.training.prepare import prepare_training_data, write_training_data

DAYS = 5
PER_DAY = 100
"""Instructions a day."""
EPOCHS = 20
"""Of Phase 1, at most."""
ROUNDS = 3
"""How often a mended plan is run: on the cheapest workers, the next dearer ones, once on some by chance."""
_AT_ONCE = 16

SIDES = {
    "without": ("without learning", "#718096"),
    "routing": ("routing learned", "#2b6cb0"),
    "all": ("plans and routing learned, gated", "#dd6b20"),
}
"""What is played: how it is called in the plot, and its colour."""


def measure(folder: Path, *, per_day: int, seed: int, epochs: int, corpus: Path = CORPUS) -> dict[str, Any]:
    """Play all sides; returns their days.

    Args:
        folder: For their homes.
        per_day: Instructions a day.
        seed: Which instruction comes on which day.
        epochs: Of Phase 1, at most.
        corpus: The starter corpus.
    """
    records = read_starter(corpus)
    random.Random(seed).shuffle(records)
    if len(records) < DAYS * per_day:
        raise SystemExit(f"The corpus has {len(records)} instructions, {DAYS} x {per_day} are asked for.")
    days = [records[number * per_day : (number + 1) * per_day] for number in range(DAYS)]
    references = reference_answers(records)
    found: dict[str, Any] = {}
    for name in SIDES:
        project = simulated_project(folder / name, epochs, registry=name == "all")
        rows = []
        collected_usd = 0.0
        learned: dict[str, Any] = {}
        for number, traffic in enumerate(days, start=1):
            row = play(project, traffic, corpus, references, learns=name != "without")
            rows.append({"day": number, **row, "collected_usd": collected_usd, "learned": learned})
            print(f"{name}, day {number}: {rows[-1]}", flush=True)
            if name != "without" and number < DAYS:
                started = time.process_time()
                collected_usd = collect_mended(project, traffic, corpus, references)
                learned = learn(project, plans=name == "all")
                learned["cpu_seconds"] = time.process_time() - started
        found[name] = rows
    return found


def simulated_project(home: Path, epochs: int, *, registry: bool) -> Project:
    """Return a project of simulated workers that answer at once."""
    settings = Settings.from_mapping({"ORCHESTAI_HOME": str(home), "ORCHESTAI_TARGET": "ci"})
    project = load_project(settings=settings)
    policy = policy_of(project)
    gates = policy.gates.model_copy(update={"latency_max_ms": None, "latency_max_ratio": None})
    heldout = policy.heldout.model_copy(update={"share": 1.0})
    training = project.training
    return project.model_copy(
        update={
            "workers": project.workers.only_simulated(),
            "registry": project.registry.model_copy(update={"enabled": registry}),
            "simulator": project.simulator.model_copy(update={"time_scale": 0.0}),
            "promotion": {
                **project.promotion,
                project.registry.policy: policy.model_copy(update={"gates": gates, "heldout": heldout}),
            },
            "training": training.model_copy(update={"phase1": training.phase1.model_copy(update={"epochs": epochs})}),
        }
    )


def play(
    project: Project, traffic: Sequence[StarterRecord], corpus: Path, references: dict[str, str], *, learns: bool
) -> dict[str, Any]:
    """Run a day's instructions as they come; returns success rate and means."""
    version = _serves(project)
    serves = learns and version is not None
    with open_runtime(project, learned=serves, references=references) as runtime:
        results = runtime.call(_traffic(runtime, traffic, corpus))
    done = [result for result in results if result is not None]
    return {
        "instructions": len(traffic),
        "success_rate": sum(result.success for result in done) / len(traffic),
        "cost_usd": sum(result.total_cost for result in done) / len(traffic),
        "not_run": len(traffic) - len(done),
        "version": version,
    }


async def _traffic(runtime: Runtime, traffic: Sequence[StarterRecord], corpus: Path) -> list[ExecutionResult | None]:
    from orchestai.errors import OrchestAIError

    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(record: StarterRecord) -> ExecutionResult | None:
        instruction = record.to_instruction(corpus.parent)
        async with limit:
            try:
                return (await runtime.aexecute(instruction, execution_id=f"traffic-{record.id}")).result
            except OrchestAIError:
                return None

    return list(await asyncio.gather(*(one(record) for record in traffic)))


def collect_mended(
    project: Project, traffic: Sequence[StarterRecord], corpus: Path, references: dict[str, str]
) -> float:
    """Run the mended plans of a day; returns what that cost."""
    _, items = starter_items(project, list(traffic), corpus, live=0, rounds=ROUNDS)
    spent = 0.0
    with open_runtime(project, learned=False, references=references) as runtime:

        async def run() -> None:
            nonlocal spent
            results: list[ExecutionResult] = []

            async def execute(item: Any) -> ExecutionResult:
                source: ExecutionSource = item.source
                execution = await runtime.aexecute(
                    item.instruction, item.plan, source=source, execution_id=item.execution_id
                )
                results.append(execution.result)
                return execution.result

            await collect(items, execute, concurrency=_AT_ONCE, done=frozenset(), on_done=None)
            spent = sum(result.total_cost for result in results)

        runtime.call(run())
    return spent


def learn(project: Project, *, plans: bool) -> dict[str, Any]:
    """Ingest and train the router; with `plans` also Phase 1, judge, and promote what the gates let through."""
    paths = project.paths
    for day in list_days(paths.execution_logs):
        ingest_day(paths.execution_logs, day, executions_folder(project), paths.quarantine)
    write_outcome_tables(project)
    config = project.training.router
    subtasks = router_rows(project, config)
    if subtasks >= config.min_rows:
        train_router_on(project, None, out=router_folder(project), config=config)
    if not plans:
        return {"subtasks": subtasks}
    data = prepare_training_data(execution_tables(project), project.tasks, project.workers, project.training.split)
    write_training_data(data, training_folder(project))
    train_phase1(
        project,
        data.examples,
        tasks=project.tasks,
        workers=project.workers,
        out=phase1_folder(project),
        resume=False,
    )
    report: CandidateReport = release_candidate(project, start=False)
    if report.action == "passed":
        promote(open_registry(project), report.version.version, why="every gate is met", now=datetime.now(UTC))
    gates = report.gates.results if report.gates is not None else ()
    return {
        "rows": len(data.examples),
        "subtasks": subtasks,
        "version": report.version.version,
        "action": report.action,
        "baseline": report.baseline,
        "refused_by": [f"{gate.gate}: {gate.observed}" for gate in gates if not gate.passed],
        "quality": next((gate.observed for gate in gates if gate.gate == "quality"), None),
    }


def _serves(project: Project) -> str | None:
    """Return the version that serves; None as long as nothing that was learned does."""
    if not project.registry.enabled:
        return "router" if (router_folder(project) / "manifest.json").exists() else None
    pointer = read_pointer(project)
    return pointer.champion.version if pointer is not None and pointer.champion is not None else None


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw success rate and cost by day, PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), dpi=120)
    for name, (label, colour) in SIDES.items():
        rows = found[name]
        days = [row["day"] for row in rows]
        rates = [100 * row["success_rate"] for row in rows]
        bars = [196 * (row["success_rate"] * (1 - row["success_rate"]) / row["instructions"]) ** 0.5 for row in rows]
        left.errorbar(days, rates, yerr=bars, color=colour, marker="o", capsize=3, label=label)
        right.plot(days, [1e6 * row["cost_usd"] for row in rows], color=colour, marker="o", label=label)
    left.set_ylabel("accepted answers, %")
    left.set_ylim(0, 100)
    left.set_title("Success by day (95 % intervals)", fontsize=10)
    right.set_ylabel("dollars per million instructions")
    right.set_ylim(bottom=0)
    right.set_title("Cost by day, without collection", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("simulated day")
        axes.set_xticks(range(1, DAYS + 1))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path, help="PNG to draw")
    parser.add_argument("--per-day", type=int, default=PER_DAY)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of Phase 1")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orchestai-days-") as folder:
        found = measure(Path(folder), per_day=options.per_day, seed=options.seed, epochs=options.epochs)
    if options.plot is not None:
        draw(found, options.plot)
    sha256 = hashlib.sha256((data_sha256([CORPUS]) + data_sha256([Path(__file__)])).encode()).hexdigest()
    write_report(
        options.out,
        bench="learning_curve",
        data={"corpus": str(CORPUS.name), "workers": "simulated"},
        sha256=sha256,
        seed=options.seed,
        results=found,
    )


if __name__ == "__main__":
    main()
