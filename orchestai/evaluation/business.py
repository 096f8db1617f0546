"""What the executions were worth: success, time, money, and the money that the best single worker would have cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from orchestai.contracts import WorkerCatalog
from orchestai.contracts.base import Record
from orchestai.evaluation.intervals import bootstrap_mean

COLUMNS = (
    "timestamp",
    "instruction",
    "success",
    "cost",
    "latency_ms",
    "planner",
    "model_version",
    "workers",
    "subtasks",
)
"""What is read of the table of executions."""

_FEWEST = 20
"""Executions that a worker must have done alone to be compared with."""


class Outcomes(Record):
    """Executions of a day, of a model, or all.

    Attributes:
        name: Which.
        executions: How many.
        success: Share that was accepted.
        success_low: Lower end of its 95 % interval; executions of one instruction are drawn together.
        success_high: Upper end.
        cost_usd: Mean dollars an execution.
        latency_p50_ms: Median time.
        latency_p95_ms: 95 of 100 took less.
    """

    name: str
    executions: int
    success: float
    success_low: float
    success_high: float
    cost_usd: float
    latency_p50_ms: float
    latency_p95_ms: float


class BestSingle(Record):
    """The best single worker, and what it would have cost.

    Attributes:
        worker: The one with the highest success rate among executions that it did alone.
        executions: How many it did alone.
        success: Share of them that was accepted; other instructions than those of the rest.
        cost_usd: What all executions would have cost at its prices and their tokens.
        actual_usd: What they cost.
        saved: Share of that cost that was saved; negative if it would have been cheaper.
    """

    worker: str
    executions: int
    success: float
    cost_usd: float
    actual_usd: float
    saved: float


class BusinessMetrics(Record):
    """What the log says.

    Attributes:
        total: All executions.
        by_day: By UTC day, the oldest first.
        by_model: By model that planned, the most used first; `none` where no learned one did.
        best_single: Null where no worker did enough executions alone.
    """

    total: Outcomes
    by_day: tuple[Outcomes, ...]
    by_model: tuple[Outcomes, ...]
    best_single: BestSingle | None


def business_metrics(rows: Iterable[Mapping[str, Any]], workers: WorkerCatalog) -> BusinessMetrics | None:
    """Return what executions were worth; None if there are none.

    Args:
        rows: Executions with `COLUMNS`.
        workers: Gives prices.
    """
    found = list(rows)
    if not found:
        return None
    days: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    models: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in found:
        days[row["timestamp"].date().isoformat()].append(row)
        models[(row["model_version"] or "none")[:12]].append(row)
    return BusinessMetrics(
        total=outcomes("all", found),
        by_day=tuple(outcomes(day, days[day]) for day in sorted(days)),
        by_model=tuple(outcomes(name, part) for name, part in sorted(models.items(), key=lambda item: -len(item[1]))),
        best_single=best_single(found, workers),
    )


def outcomes(name: str, rows: Sequence[Mapping[str, Any]]) -> Outcomes:
    """Return the figures of some executions; there must be one."""
    success = np.array([float(row["success"]) for row in rows])
    interval = bootstrap_mean(success, [row["instruction"] for row in rows], resamples=500)
    times = np.array([row["latency_ms"] for row in rows])
    return Outcomes(
        name=name,
        executions=len(rows),
        success=interval["mean"],
        success_low=interval["low"],
        success_high=interval["high"],
        cost_usd=float(np.mean([row["cost"] for row in rows])),
        latency_p50_ms=float(np.quantile(times, 0.5)),
        latency_p95_ms=float(np.quantile(times, 0.95)),
    )


def best_single(rows: Sequence[Mapping[str, Any]], workers: WorkerCatalog) -> BestSingle | None:
    """Return the best single worker and what all executions would have cost at its prices.

    The tokens are those of the executions as they ran: another worker would have written others.
    """
    alone: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        names = {subtask["worker"] for subtask in row["subtasks"] or ()}
        if len(names) == 1:
            alone[names.pop()].append(bool(row["success"]))
    able = {name: done for name, done in alone.items() if len(done) >= _FEWEST and name in workers.names}
    if not able:
        return None
    name = max(able, key=lambda each: (sum(able[each]) / len(able[each]), len(able[each]), each))
    profile = workers[name]
    cost = sum(
        profile.cost_usd(subtask["input_tokens"] or 0, subtask["output_tokens"] or 0)
        for row in rows
        for subtask in row["subtasks"] or ()
    )
    actual = float(sum(row["cost"] for row in rows))
    return BestSingle(
        worker=name,
        executions=len(able[name]),
        success=sum(able[name]) / len(able[name]),
        cost_usd=cost,
        actual_usd=actual,
        saved=1 - actual / cost if cost else 0.0,
    )
