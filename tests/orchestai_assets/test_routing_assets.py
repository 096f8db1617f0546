"""Outcome tables and router in Dagster: made from the logs, skipped where there is too little, checked."""

from collections.abc import Callable

import dagster as dg

from orchestai.app.places import router_folder, routing_folder
from orchestai.config import Project
from orchestai_assets.checks.anomaly_model import alarms_result
from orchestai_assets.checks.routing import (
    calibration_result,
    comparison_result,
    features_result,
    ranges_result,
    sums_result,
)
from tests.orchestai_assets.test_data_assets import checks, materialized, run

SOUND = {
    "execution_id": "e",
    "attempt": 1,
    "node": 0,
    "worker": "w",
    "score": 1.0,
    "propensity": 0.98,
    "cost_usd": 0.1,
    "latency_ms": None,
}


def test_logs_become_tables_and_too_few_make_no_router(
    project: Project, instance: dg.DagsterInstance, log_executions: Callable[[int], None], today: str
) -> None:
    log_executions(9)
    assert run("ingest_and_validate", instance, today).success
    result = run("train_router", instance)
    assert result.success, "too few outcomes are no failure"
    found = materialized(result)
    assert set(found) == {"dataset_validation", "routing_outcomes", "worker_metrics", "features"}
    # Of 9 executions a third each has one, two and three sub-tasks.
    assert found["routing_outcomes"]["rows"] == found["features"]["dagster/row_count"] + 0 == 18
    assert found["routing_outcomes"]["workers"] == 1
    assert found["worker_metrics"]["overall"].records[0].data["calls"] == 18
    assert sorted(path.name for path in routing_folder(project).iterdir()) == [
        "features.parquet",
        "routing_outcomes.parquet",
        "worker_metrics.parquet",
    ]
    assert not router_folder(project).exists()
    evaluated = {name: check.passed for name, check in checks(result).items()}
    assert evaluated["routing_outcomes:ranges"]
    assert evaluated["worker_metrics:adds_up"]


def test_rows_that_cannot_be_are_named() -> None:
    assert ranges_result([SOUND]).passed
    for change in ({"score": 1.2}, {"propensity": -0.1}, {"cost_usd": -1.0}, {"latency_ms": float("nan")}):
        refused = ranges_result([{**SOUND, **change}])
        assert not refused.passed
        assert next(iter(change)) in str(refused.metadata["observed"].value)
    assert not ranges_result([SOUND, SOUND]).passed


def test_a_check_shows_gate_observed_and_allowed_and_only_some_are_warnings() -> None:
    refused = ranges_result([{**SOUND, "execution_id": f"e{number}", "score": 2.0} for number in range(7)])
    assert refused.severity is dg.AssetCheckSeverity.ERROR
    shown = {name: entry.value for name, entry in refused.metadata.items()}
    assert (shown["gate"], shown["allowed"]) == ("ranges", "0 to 1, >= 0, once")
    assert str(shown["observed"]).count("score 2.0") == 5, "five rows are enough to see what is wrong"
    assert ranges_result([SOUND]).metadata["observed"].value == "1 sound rows"
    assert calibration_result({"ece": 0.2}).severity is dg.AssetCheckSeverity.WARN


def test_calls_must_add_up() -> None:
    rows = [{"worker": "w", "task_type": kind, "calls": calls} for kind, calls in (("a", 2), ("b", 3), ("*", 5))]
    assert sums_result(rows).passed
    assert not sums_result(rows[1:]).passed


def test_the_router_is_judged_by_what_it_promised() -> None:
    assert features_result([{"query_id": "a", "outcomes": 3, "workers": 2}]).passed
    assert not features_result([{"query_id": "a", "outcomes": 3, "workers": 2}] * 2).passed
    assert not features_result([{"query_id": "a", "outcomes": 1, "workers": 2}]).passed
    assert alarms_result({"false_alarms_per_1000": 0.4}, 0.5).passed
    assert not alarms_result({"false_alarms_per_1000": 1.6}, 0.5).passed
    assert calibration_result({"ece": 0.03}).passed
    assert not calibration_result({"ece": 0.2}).passed
    assert comparison_result({"accuracy_routed": 61.0, "best_single": 60.0}).passed
    assert not comparison_result({"accuracy_routed": 59.0, "best_single": 60.0}).passed
