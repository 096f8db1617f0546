"""What executions were worth, by hand."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestai.contracts import WorkerCatalog, WorkerProfile
from orchestai.evaluation.business import business_metrics
from orchestai.evaluation.history_plots import outcomes_over_days, scores_over_versions

WORKERS = WorkerCatalog(
    workers=(
        WorkerProfile(name="cheap", description="c", model="c", input_usd_per_mtok=1, output_usd_per_mtok=2),
        WorkerProfile(name="dear", description="d", model="d", input_usd_per_mtok=10, output_usd_per_mtok=20),
    )
)


def row(number: int, worker: str, success: bool, day: int = 1, model: str | None = "m1") -> dict[str, Any]:
    subtask = {"worker": worker, "input_tokens": 1000, "output_tokens": 500}
    return {
        "timestamp": datetime(2026, 5, day, tzinfo=UTC),
        "instruction": f"i{number}",
        "success": success,
        "cost": WORKERS[worker].cost_usd(1000, 500),
        "latency_ms": 100.0 * (number + 1),
        "planner": "learned",
        "model_version": model,
        "workers": [worker],
        "subtasks": [subtask],
    }


def test_nothing_is_worth_nothing() -> None:
    assert business_metrics([], WORKERS) is None


def test_success_time_money_and_the_best_single_worker() -> None:
    # cheap: 1000 * 1 + 500 * 2 = 0.002 dollars, half accepted; dear: ten times that, all accepted.
    rows = [row(n, "cheap", n % 2 == 0) for n in range(60)]
    rows += [row(n, "dear", True, day=2, model=None) for n in range(20)]

    found = business_metrics(rows, WORKERS)

    assert found is not None
    assert (found.total.executions, found.total.success) == (80, pytest.approx(50 / 80))
    assert found.total.cost_usd == pytest.approx((60 * 0.002 + 20 * 0.02) / 80)
    assert found.total.success_low < found.total.success < found.total.success_high
    assert [(day.name, day.executions, day.success) for day in found.by_day] == [
        ("2026-05-01", 60, 0.5),
        ("2026-05-02", 20, 1.0),
    ]
    assert [(model.name, model.executions) for model in found.by_model] == [("m1", 60), ("none", 20)]
    assert found.by_day[1].latency_p50_ms == pytest.approx(1050)
    single = found.best_single
    assert single is not None
    assert (single.worker, single.success) == ("dear", 1.0)
    assert single.cost_usd == pytest.approx(80 * 0.02)
    assert single.saved == pytest.approx(1 - (60 * 0.002 + 20 * 0.02) / (80 * 0.02))


def test_a_worker_that_did_little_alone_is_not_compared_with() -> None:
    found = business_metrics([row(n, "dear", True) for n in range(19)], WORKERS)

    assert found is not None
    assert found.best_single is None


def test_plots_are_pictures() -> None:
    found = business_metrics([row(n, "cheap", n % 3 > 0) for n in range(30)], WORKERS)
    assert found is not None
    scores = {"node_f1": [{"mean": 50.0, "low": 40.0, "high": 60.0}]}

    assert outcomes_over_days({"all": found.by_day}).startswith(b"\x89PNG")
    assert scores_over_versions(["v1"], scores).startswith(b"\x89PNG")
