"""One execution, built the way the engine builds it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestai.contracts import (
    AcceptanceCheck,
    Assignment,
    CheckResult,
    ExecutionResult,
    Instruction,
    Plan,
    Subtask,
    SubtaskRecord,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
    WorkflowGraph,
)
from orchestai.logs import ExecutionLogRecord
from tests.logs.home import NOON, Home

MakeRecord = Callable[..., ExecutionLogRecord]


@pytest.fixture
def tasks() -> TaskCatalog:
    return TaskCatalog(
        types=tuple(TaskType(name=name, description=name) for name in ("extract", "summarize", "translate"))
    )


@pytest.fixture
def workers() -> WorkerCatalog:
    return WorkerCatalog(
        workers=tuple(WorkerProfile(name=name, description=name, model=name) for name in ("small", "large", "polyglot"))
    )


@pytest.fixture
def make_record(tasks: TaskCatalog, workers: WorkerCatalog) -> MakeRecord:
    """Return a maker of records of a fan-in plan: 0 and 1 are independent, 2 needs both."""

    def make(
        execution_id: str = "e-1", text: str = "Summarise both notes.", success: bool = True, **options: Any
    ) -> ExecutionLogRecord:
        check = AcceptanceCheck(kind="contains", value="owl")
        instruction = Instruction(id="i-1", text=text, tenant="acme", acceptance=(check,))
        names = ("extract", "extract", "summarize")
        graph = WorkflowGraph(
            nodes=tuple(Subtask(task_type=name, description=f"do {name}") for name in names),
            dependencies=((), (), (0, 1)),
        )
        chosen = ("large", "small", "polyglot")
        plan = Plan(
            id="p-1",
            graph=graph,
            assignments=tuple(Assignment(worker=name, propensity=0.5) for name in chosen),
            planner="rules",
            confidence=0.25,
            fallback_reason="confidence",
        )
        result = ExecutionResult(
            success=success,
            outputs={0: "a", 1: "b", 2: "owl", -1: options.pop("answer", "owl")},
            total_cost=0.045,
            total_latency_ms=1200.0,
            task_metrics={0: {"cost": 0.015}},
            execution_id=execution_id,
            completed=True,
            checks=(CheckResult(check=check, held=success),),
            subtasks=tuple(
                SubtaskRecord(
                    index=index,
                    task_type=name,
                    worker=chosen[index],
                    status="done",
                    simulated=options.get("simulated", False) and index == 1,
                    output_tokens=10,
                )
                for index, name in enumerate(names)
            ),
        )
        options.pop("simulated", None)
        return ExecutionLogRecord.of(instruction, plan, result, **{"tasks": tasks, "workers": workers, **options})

    return make


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def line(make_record):
    def make(execution_id: str, minute: int = 0, **options) -> bytes:
        return make_record(execution_id, timestamp=NOON + timedelta(minutes=minute), **options).to_line()

    return make
