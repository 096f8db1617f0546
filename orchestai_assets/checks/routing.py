"""Checks of what routing learns from, and of what it learned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestai.app.places import router_folder, routing_folder
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result
from resources.orchestai_resource import OrchestAIResource

_SHOWN = 5
_MOST_ECE = 0.1


@dg.asset_check(
    asset=keys.ROUTING_OUTCOMES,
    name="ranges",
    blocking=True,
    description="Scores and propensities are probabilities, prices and times are not negative, no row stands twice.",
)
def routing_outcomes_ranges(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Look at every row."""
    from orchestai.routing.outcomes import OUTCOMES_ASSET

    return ranges_result(_rows(orchestai, OUTCOMES_ASSET))


@dg.asset_check(
    asset=keys.WORKER_METRICS,
    name="adds_up",
    blocking=True,
    description="The calls of a worker over its task types are those of its row over all.",
)
def worker_metrics_add_up(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Add the calls."""
    from orchestai.routing.outcomes import METRICS_ASSET

    return sums_result(_rows(orchestai, METRICS_ASSET))


@dg.asset_check(
    asset=keys.FEATURES,
    name="one_row_a_subtask",
    blocking=True,
    description="No sub-task stands twice, none has more workers than outcomes.",
)
def features_one_row(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Look at every row."""
    from orchestai.routing.outcomes import FEATURES_ASSET

    return features_result(_rows(orchestai, FEATURES_ASSET, ["query_id", "outcomes", "workers"]))


@dg.asset_check(
    asset=keys.ROUTER_CHECKPOINT,
    name="calibrated",
    description="Expected success is within 0.1 of observed success on average, out of fold.",
)
def router_calibrated(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read the calibration error out of the manifest."""
    from orchestai.checkpoint import read_manifest

    return calibration_result(read_manifest(router_folder(orchestai.project)).metrics)


@dg.asset_check(
    asset=keys.ROUTER_CHECKPOINT,
    name="not_worse_than_best_single",
    description="Routing for success does not lose to the best single worker, out of fold.",
)
def router_not_worse(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Compare routed and best single success."""
    from orchestai.checkpoint import read_manifest

    return comparison_result(read_manifest(router_folder(orchestai.project)).metrics)


def _rows(orchestai: OrchestAIResource, asset: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    from orchestai.routing.logged import read_routing_table

    table = read_routing_table(routing_folder(orchestai.project), asset)
    rows: list[dict[str, Any]] = (table.select(columns) if columns else table).to_pylist()
    return rows


def ranges_result(rows: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Say which rows cannot be."""
    wrong = []
    seen = set()
    for row in rows:
        key = (row["execution_id"], row["attempt"], row["node"], row["worker"])
        problems = [f"{name} {row[name]}" for name in ("score", "propensity") if not _within(row[name], 1.0)]
        problems += [f"{name} {row[name]}" for name in ("cost_usd", "latency_ms") if not _within(row[name], None)]
        problems += ["twice"] if key in seen else []
        seen.add(key)
        if problems:
            wrong.append(f"{row['execution_id']}/{row['node']}: {', '.join(problems)}")
    return _rows_result("ranges", wrong, sound=f"{len(rows)} sound rows", allowed="0 to 1, >= 0, once")


def sums_result(rows: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Compare each worker's row over all with the sum over its task types."""
    totals: dict[str, list[int]] = {}
    for row in rows:
        total = totals.setdefault(row["worker"], [0, 0])
        total[row["task_type"] == "*"] += row["calls"]
    wrong = [f"{worker}: {parts} and {whole}" for worker, (parts, whole) in totals.items() if parts != whole]
    return _rows_result("calls", wrong, sound=f"{len(totals)} workers add up", allowed="equal")


def features_result(rows: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Say which sub-tasks cannot be."""
    counts = Counter(row["query_id"] for row in rows)
    wrong = [f"{name} stands {count} times" for name, count in counts.items() if count > 1]
    wrong += [
        f"{row['query_id']}: {row['workers']} workers, {row['outcomes']} outcomes"
        for row in rows
        if not 1 <= row["workers"] <= row["outcomes"]
    ]
    return _rows_result(
        "sub-tasks",
        wrong,
        sound=f"{len(rows)} sub-tasks",
        allowed="one row each, at least one worker, no more workers than outcomes",
    )


def calibration_result(metrics: Mapping[str, float]) -> dg.AssetCheckResult:
    """Judge the expected calibration error."""
    return gate_result(
        "expected calibration error",
        passed=metrics["ece"] <= _MOST_ECE,
        observed=f"{metrics['ece']:.3f}",
        allowed=f"<= {_MOST_ECE}",
        warns=True,
    )


def comparison_result(metrics: Mapping[str, float]) -> dg.AssetCheckResult:
    """Judge routing against the best single worker."""
    return gate_result(
        "success out of fold",
        passed=metrics["accuracy_routed"] >= metrics["best_single"],
        observed=f"{metrics['accuracy_routed']:.1f} %",
        allowed=f">= {metrics['best_single']:.1f} %, that of the best single worker",
        warns=True,
    )


def _rows_result(gate: str, wrong: Sequence[str], *, sound: str, allowed: str) -> dg.AssetCheckResult:
    """Judge a table by its wrong rows, of which the first few are shown."""
    return gate_result(gate, passed=not wrong, observed="; ".join(wrong[:_SHOWN]) or sound, allowed=allowed)


def _within(value: float | None, most: float | None) -> bool:
    return value is None or (value >= 0 and (most is None or value <= most))
