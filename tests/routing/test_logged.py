"""Outcome tables from logged executions: scores, failures, metrics and what may be learned."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.contracts import AcceptanceCheck, CheckResult, SubtaskRecord
from orchestai.errors import DataError
from orchestai.logs import ExecutionLogRecord, ExecutionSource
from orchestai.logs.columns import execution_row, execution_schema
from orchestai.logs.record import PlannerRecord
from orchestai.routing.logged import ALL_TYPES, features_of, learnable, metrics_of, outcomes_of

CHECK = CheckResult(check=AcceptanceCheck(kind="contains", value="owl"), held=True)


def execution(name: str, *subtasks: dict[str, Any], success: bool = True, **fields: Any) -> ExecutionLogRecord:
    records = tuple(
        SubtaskRecord.model_validate(
            {"index": n, "task_type": "answer", "description": f"part {n}", "worker": "small", "status": "done", **each}
        )
        for n, each in enumerate(subtasks)
    )
    return ExecutionLogRecord(
        **{
            "timestamp": datetime(2026, 11, 21, 12, tzinfo=UTC),
            "instruction": "Find the owl.",
            "success": success,
            "cost": 0.0,
            "latency_ms": 1.0,
            "planner_outputs": PlannerRecord(dependencies=tuple((n - 1,) if n else () for n in range(len(records)))),
            "execution_result": {},
            "execution_id": name,
            "completed": True,
            "subtasks": records,
            "checks": (CHECK,),
            **fields,
        }
    )


@pytest.fixture
def outcomes(tmp_path: Path) -> Any:
    def make(*executions: ExecutionLogRecord) -> pa.Table:
        rows = [execution_row(each, "segment") for each in executions]
        pq.write_table(pa.Table.from_pylist(rows, schema=execution_schema()), tmp_path / "2026-11-21.parquet")
        return outcomes_of([tmp_path / "2026-11-21.parquet"])

    return make


def test_a_subtask_has_the_score_of_its_judged_execution(outcomes: Any) -> None:
    rows = outcomes(
        execution("a", {"cost_usd": 0.1, "latency_ms": 5.0, "output_tokens": 7, "propensity": 0.98}),
        execution("b", {}, success=False),
        execution("c", {}, checks=()),
        execution("d", {}, checks=(), execution_result={"review": {"by": "model"}}),
        execution("e", {}, checks=(), execution_result={"review": {"by": "nobody"}}),
    ).to_pylist()
    assert {row["execution_id"]: row["score"] for row in rows} == {"a": 1.0, "b": 0.0, "c": None, "d": 1.0, "e": None}
    assert rows[0]["propensity"] == 0.98
    assert rows[0]["text"] == "Find the owl.", "the only sub-task is the whole instruction"


def test_failures_count_and_what_did_not_run_does_not(outcomes: Any) -> None:
    rows = outcomes(
        execution(
            "a",
            {"worker": "large", "gave_up": ("small",)},
            {"status": "failed", "latency_ms": 9.0},
            {"status": "skipped"},
            success=False,
            checks=(),
        )
    ).to_pylist()
    assert [(row["node"], row["worker"], row["completed"], row["score"]) for row in rows] == [
        (0, "large", True, None),
        (0, "small", False, 0.0),
        (1, "small", False, 0.0),
    ]
    assert rows[2]["latency_ms"] is None, "the time of a failure says nothing of the time of an answer"
    assert [row["text"] for row in rows] == ["part 0", "part 0", "part 1"]
    assert [row["parents"] for row in rows] == [0, 0, 1]


def test_metrics_are_those_of_worker_and_type(outcomes: Any) -> None:
    table = outcomes(
        *(
            execution(f"e{n}", {"latency_ms": float(n), "cost_usd": 0.01, "output_tokens": 10}, success=n % 4 != 0)
            for n in range(1, 21)
        ),
        execution("other", {"task_type": "write", "latency_ms": 100.0, "cost_usd": 0.03}),
    )
    rows = {(row["worker"], row["task_type"]): row for row in metrics_of(table).to_pylist()}
    answer, overall = rows["small", "answer"], rows["small", ALL_TYPES]
    assert (answer["calls"], overall["calls"]) == (20, 21)
    assert answer["success_rate"] == pytest.approx(15 / 20)
    # 1 to 20: the median is 10.5, nineteen twentieths of the way from 1 to 20 is 19.05.
    assert answer["latency_ms_p50"] == pytest.approx(10.5)
    assert answer["latency_ms_p95"] == pytest.approx(19.05)
    assert overall["total_cost_usd"] == pytest.approx(0.23)


def test_the_same_subtask_is_one_row_to_learn_from_and_test_rows_are_none(outcomes: Any) -> None:
    table = outcomes(
        execution("a", {}),
        execution("b", {}, success=False),
        execution("c", {"worker": "large"}),
        execution("held", {}, instruction="Find the hawk.", source=ExecutionSource(split="test")),
    )
    found = learnable(table)
    assert found.texts == ("Find the owl.",)
    assert dict(zip(found.workers, found.scores[0].tolist(), strict=True)) == {"small": 0.5, "large": 1.0}
    features = features_of(table).to_pylist()
    assert sorted(row["outcomes"] for row in features) == [1, 3]
    assert max(row["workers"] for row in features) == 2


def test_nothing_scored_is_said(outcomes: Any) -> None:
    with pytest.raises(DataError, match="no scored outcome"):
        learnable(outcomes(execution("a", {}, checks=())))
