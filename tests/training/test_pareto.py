"""The front of cost and success over held-out workflows, against trying everything."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from orchestai.training.pareto import MOST_WORKFLOWS, front_of, sample_rows
from tests.training.workflow_toys import workflows


def test_no_mix_of_assignments_is_cheaper_and_surer_than_the_front() -> None:
    flows = workflows(12, seed=3, workers=3)
    points = front_of(flows)
    assert [point.cost_usd for point in points] == sorted(point.cost_usd for point in points)
    assert all(after.expected_success > before.expected_success for before, after in itertools.pairwise(points))
    assert len(points) > 4
    every = [[] for _ in range(len(flows))]
    for combination in itertools.product(range(3), repeat=flows.present.shape[1]):
        actions = np.tile(np.array(combination), (len(flows), 1))
        may = (np.take_along_axis(flows.allowed, actions[..., None], -1)[..., 0] | ~flows.present).all(1)
        totals = flows.totals(flows.expected, actions)
        for row in np.flatnonzero(may):
            every[row].append((totals.cost_usd[row], totals.success[row]))
    cheapest = np.mean([min(cost for cost, _ in options) for options in every])
    surest = np.mean([max(success for _, success in options) for options in every])
    assert points[0].cost_usd == pytest.approx(cheapest)
    assert points[-1].expected_success == pytest.approx(surest)
    for point in points[1:-1]:
        # The line through the point with the slope of one price bounds what any mix could reach there.
        best = [
            np.mean([max(worth * success - cost for cost, success in options) for options in every])
            for worth in np.geomspace(1e-4, 10, 200)
        ]
        reachable = min(
            (bound + point.cost_usd) / worth for bound, worth in zip(best, np.geomspace(1e-4, 10, 200), strict=True)
        )
        assert point.expected_success > reachable - 0.03


def test_what_came_of_it_is_counted_from_the_outcomes_and_not_from_hopes() -> None:
    flows = workflows(30, seed=5)
    failing = replace(flows, actual=flows.actual._replace(success=np.zeros_like(flows.actual.success)))
    assert {point.success for point in front_of(failing)} == {0.0}
    assert front_of(failing)[-1].expected_success == front_of(flows)[-1].expected_success
    assert front_of(flows)[-1].success > 0


def test_where_nothing_costs_anything_the_surest_is_left() -> None:
    flows = workflows(6, seed=2)
    free = replace(flows, expected=flows.expected._replace(cost_usd=np.zeros_like(flows.expected.cost_usd)))
    (point,) = front_of(free)[-1:]
    assert point.cost_usd == 0.0
    assert point.expected_success == pytest.approx(front_of(flows)[-1].expected_success)
    assert front_of(flows.take(np.zeros(0, dtype=np.int64))) == []


def test_of_many_workflows_some_are_taken_evenly() -> None:
    flows = workflows(20, seed=1).take(np.arange(1000) % 20)
    rows = sample_rows(flows)
    assert len(rows) == MOST_WORKFLOWS
    assert (rows[0], rows[-1]) == (0, 999)
    assert len(set(rows.tolist())) == MOST_WORKFLOWS
    assert sample_rows(flows.take(rows[:3])).tolist() == [0, 1, 2]
