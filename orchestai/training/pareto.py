"""What success costs: the best assignments of held-out workflows at every price, by the exact optimizer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from orchestai.routing.optimizer import PlanAssignment, PlanOptions, pareto_front
from orchestai.training.workflows import Actions, Workflows

_POINTS = 8
_PRICES = 24
MOST_WORKFLOWS = 200
"""Held-out workflows that are optimised; of more, so many at equal distances."""


class FrontPoint(NamedTuple):
    """Means over workflows at one price of success.

    Attributes:
        cost_usd: Dollars as expected, by which the optimizer chose.
        expected_success: Share of workflows that are expected to succeed.
        success: Share that did.
        latency_ms: Critical path as expected.
    """

    cost_usd: float
    expected_success: float
    success: float
    latency_ms: float


def sample_rows(workflows: Workflows) -> Actions:
    """Return the rows of the workflows that are optimised."""
    count = min(len(workflows), MOST_WORKFLOWS)
    return np.linspace(0, len(workflows) - 1, count).astype(np.int64)


def front_of(workflows: Workflows) -> list[FrontPoint]:
    """Return the Pareto front of cost and success over all workflows together, the cheapest point first.

    Each workflow has a front of its own (`pareto_front`, which knows what is expected of the workers and no outcome).
    One price of success for all of them, from nothing to everything, takes one point of each: no other mix of
    these points costs as little and succeeds as often.

    Args:
        workflows: What there is to do; `actual` says what became of it.
    """
    fronts = [_own(workflows, row) for row in range(len(workflows))]
    if not fronts:
        return []
    # Where nothing costs anything the surest is the whole front.
    dearest = max(max(each.cost_usd for front in fronts for each, _ in front), 1e-12)
    points: list[FrontPoint] = []
    # Dollars that a success is worth; the first takes the cheapest of all, the last the surest.
    for worth in (0.0, *np.geomspace(dearest / 100, dearest * 1e5, _PRICES)):
        taken = [max(front, key=lambda each: worth * each[0].success - each[0].cost_usd) for front in fronts]
        plans, succeeded = [plan for plan, _ in taken], [done for _, done in taken]
        point = FrontPoint(
            cost_usd=float(np.mean([plan.cost_usd for plan in plans])),
            expected_success=float(np.mean([plan.success for plan in plans])),
            success=float(np.mean(succeeded)),
            latency_ms=float(np.mean([plan.latency_ms for plan in plans])),
        )
        if not points or point.expected_success > points[-1].expected_success:
            points.append(point)
    return points


def _own(workflows: Workflows, row: int) -> list[tuple[PlanAssignment, float]]:
    """Return the front of one workflow, and what became of each assignment."""
    nodes = np.flatnonzero(workflows.present[row])
    allowed = workflows.allowed[row][nodes]
    expected = workflows.expected
    options = PlanOptions(
        success=np.where(allowed, np.clip(expected.success[row][nodes], 0.0, 1.0), 0.0),
        cost_usd=np.where(allowed, expected.cost_usd[row][nodes], np.inf),
        latency_ms=np.where(allowed, expected.latency_ms[row][nodes], 0.0),
        dependencies=tuple(tuple(np.flatnonzero(workflows.parents[row, node]).tolist()) for node in nodes),
    )
    front = pareto_front(options, points=_POINTS)
    actual = workflows.actual.success[row][nodes]
    return [(each, float(np.prod(actual[np.arange(len(nodes)), list(each.workers)]))) for each in front]
