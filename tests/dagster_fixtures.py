"""A Dagster instance of its own for each test, and executions to learn from; needs the fixture `project`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestai.app.runtime import open_runtime
from orchestai.config import Project
from orchestai.contracts import Assignment, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.logs import ExecutionSource


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    with dg.DagsterInstance.local_temp(
        str(folder), overrides={"telemetry": {"enabled": False}, "nux": {"enabled": False}}
    ) as opened:
        yield opened


@pytest.fixture
def today() -> str:
    return datetime.now(UTC).date().isoformat()


@pytest.fixture
def log_executions(project: Project) -> Callable[[int], None]:
    """Return a function that runs and logs instructions on simulated workers, a third of them in each split."""

    def log(count: int) -> None:
        shapes = [
            (("summarization",), ((),)),
            (("text_extraction", "reasoning"), ((), (0,))),
            (("summarization", "translation", "classification"), ((), (0,), (0,))),
        ]
        with open_runtime(project, mock=True, learned=False) as runtime:
            for number in range(count):
                names, dependencies = shapes[number % len(shapes)]
                nodes = tuple(Subtask(task_type=name, description=f"part of {number}") for name in names)
                plan = Plan(
                    graph=WorkflowGraph(nodes=nodes, dependencies=dependencies),
                    assignments=tuple(Assignment(worker="sim-fast") for _ in names),
                    planner="corpus",
                    confidence=1.0,
                )
                source = ExecutionSource(
                    kind="corpus",
                    example_id=f"example-{number}",
                    template=f"template-{number}",
                    split=("train", "validation", "test")[number // len(shapes) % 3],
                )
                runtime.execute(Instruction(text=f"Please do task number {number}."), plan, source=source)

    return log
