from __future__ import annotations

import math

import pytest

from orchestai.contracts import StepPlan
from orchestai.errors import InputError
from orchestai.evaluation.structure import makespan, schedule_ratio, score_structures

# 0 -> 2 <- 1, then 3 alone beside them.
DIAMOND = StepPlan(
    id="d", goal="g", steps=("a", "b", "c", "d"), edges=((0, 2), (1, 2)), durations_s=(10.0, 4.0, 5.0, 12.0)
)


def test_makespan_is_the_longest_path() -> None:
    assert makespan((10.0, 4.0, 5.0, 12.0), ((0, 2), (1, 2))) == 15
    with pytest.raises(InputError, match="cycle"):
        makespan((1.0, 1.0), ((0, 1), (1, 0)))


def test_the_gold_graph_takes_the_optimal_time() -> None:
    assert schedule_ratio(DIAMOND, DIAMOND.edges) == 1


def test_a_missing_edge_is_not_rewarded_and_an_extra_one_costs() -> None:
    assert schedule_ratio(DIAMOND, ()) == 1  # the step waits for what it truly needs
    assert schedule_ratio(DIAMOND, ((0, 1), (1, 2), (2, 3))) == pytest.approx((10 + 4 + 5 + 12) / 15)
    assert schedule_ratio(DIAMOND, ((0, 1), (1, 2))) == pytest.approx((10 + 4 + 5) / 15)


def test_contradiction_and_no_answer_are_done_one_after_another() -> None:
    serial = pytest.approx(31 / 15)
    assert schedule_ratio(DIAMOND, ((2, 0),)) == serial
    assert schedule_ratio(DIAMOND, None) == serial
    assert schedule_ratio(DIAMOND, ((0, 9),)) == serial


def test_scores_by_hand() -> None:
    chain = ((0, 1), (1, 2), (2, 3))
    scores = score_structures([DIAMOND] * 4, [DIAMOND.edges, chain, None, ((0, 2), (2, 0))])
    assert scores.edge_f1.tolist() == [1, pytest.approx(2 / 5), 0, pytest.approx(1 / 2)]
    assert scores.exact.tolist() == [1, 0, 0, 0]
    assert scores.valid.tolist() == [1, 1, 0, 0]
    # The chain implies 0 before 2 through 1; the cycle says nothing of 1.
    assert scores.missing.tolist() == [0, 0, 1, 0.5]


def test_unknown_durations_have_no_schedule() -> None:
    plan = StepPlan(id="x", goal="g", steps=("a", "b"), edges=((0, 1),))
    assert math.isnan(score_structures([plan], [()]).schedule[0])
    with pytest.raises(InputError, match="1 plans but 0 predictions"):
        score_structures([plan], [])
