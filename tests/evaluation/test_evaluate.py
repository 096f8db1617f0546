from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from orchestai.contracts import PlanExample, PlanPrediction, TaskCatalog, TaskType
from orchestai.errors import InputError, WorkerTimeoutError
from orchestai.evaluation.evaluate import (
    compare,
    evaluate_predictor,
    measure,
    ms_per_plan,
    paired_bootstrap,
)

TASKS = TaskCatalog(types=tuple(TaskType(name=name, description=name) for name in "ab"))


def gold(name: str, group: str = "") -> PlanExample:
    return PlanExample(id=name, instruction=name, task_types=("a", "b"), dependencies=((), (0,)), group=group)


class Fixed:
    """Answers `right` where the instruction ends in an even digit; fails or errs elsewhere."""

    def __init__(self, *, fails: bool = False, pause_s: float = 0.0) -> None:
        self.fails = fails
        self.pause_s = pause_s
        self.calls: list[list[str]] = []

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        self.calls.append(list(instructions))
        time.sleep(self.pause_s)
        return [self._one(text) for text in instructions]

    def _one(self, text: str) -> PlanPrediction:
        if text in ("0", "2"):
            return PlanPrediction(task_types=("a", "b"), dependencies=((), (0,)), confidence=0.75)
        if self.fails:
            raise WorkerTimeoutError("too slow", worker="w")
        return PlanPrediction(task_types=("c",), dependencies=((),), confidence=0.75)


def test_all_metrics_of_a_half_right_planner() -> None:
    result = evaluate_predictor(Fixed(), [gold(str(i)) for i in range(4)], tasks=TASKS)
    for key in ("node_f1", "link_f1", "edge_f1", "exact", "decomposition_accuracy"):
        assert result[key] == 50.0, key
    assert result["dag_validity"] == 50.0  # c is no known type
    assert result["ece"] == pytest.approx(0.25)
    assert result["brier"] == pytest.approx((0.0625 * 2 + 0.5625 * 2) / 4)
    assert result["n"] == 4
    assert result["unanswered"] == 0


def test_chains_are_left_out_of_the_free_edge_score() -> None:
    chain = PlanExample(id="c", instruction="c", task_types=("a", "b"), dependencies=((), (0,)))
    fork = PlanExample(id="f", instruction="f", task_types=("a", "b", "c"), dependencies=((), (0,), (0,)))
    no_edge = PlanPrediction(task_types=("a", "b"), dependencies=((), ()))
    # Gold 0->1, 0->2; predicted 0->1, 1->2: one of two right, so precision = recall = F1 = 50 %.
    half = PlanPrediction(task_types=("a", "b", "c"), dependencies=((), (0,), (1,)))
    assert measure([chain, fork], [no_edge, half])["edge_f1_non_chain"] == pytest.approx(50.0)
    assert "edge_f1_non_chain" not in measure([chain], [no_edge])


def test_an_error_of_one_instruction_leaves_the_others_answered() -> None:
    result = evaluate_predictor(Fixed(fails=True), [gold(str(i)) for i in range(4)])
    assert result["unanswered"] == 2
    assert result["node_f1"] == 50.0
    assert result["dag_validity"] == 50.0


def test_a_bug_in_a_planner_is_not_hidden() -> None:
    class Broken:
        def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate_predictor(Broken(), [gold("0")])


def test_too_few_answers_are_noticed() -> None:
    class Short:
        def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
            return []

    with pytest.raises(InputError, match="0 plans for 1"):
        evaluate_predictor(Short(), [gold("0")])


def test_time_is_measured_one_by_one_on_texts_never_seen() -> None:
    planner = Fixed(pause_s=0.01)
    examples = [gold(str(i)) for i in range(5)]
    evaluate_predictor(planner, examples)
    seen = set(planner.calls[0])
    assert ms_per_plan(planner, examples) > 9  # it sleeps 10 ms
    for call in planner.calls[1:]:
        assert len(call) == 1
        assert call[0] not in seen
        seen.add(call[0])


def test_compare_gives_differences_with_the_right_sign() -> None:
    class Right:
        def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
            return [PlanPrediction(task_types=("a", "b"), dependencies=((), (0,)), confidence=1)] * len(instructions)

    report = compare({"ours": Right(), "half": Fixed()}, [gold(str(i)) for i in range(4)])
    assert report["reference"] == "ours"
    assert set(report["differences"]) == {"half"}
    difference = report["differences"]["half"]["node_f1"]
    assert difference["mean"] == 0.5
    assert 0 <= difference["low"] <= 0.5 <= difference["high"] <= 1
    with pytest.raises(InputError, match="'nobody'"):
        compare({"a": Fixed()}, [gold("0")], reference="nobody")


def test_bootstrap_of_a_constant_difference_has_no_width() -> None:
    ours, theirs = np.full(20, 0.7), np.full(20, 0.5)
    result = paired_bootstrap(ours, theirs, [str(i) for i in range(20)])
    assert result == pytest.approx({"mean": 0.2, "low": 0.2, "high": 0.2})


def test_groups_are_drawn_whole() -> None:
    ours = np.array([1.0] * 50 + [0.0] * 50)
    theirs = np.zeros(100)
    single = paired_bootstrap(ours, theirs, [str(i) for i in range(100)])
    grouped = paired_bootstrap(ours, theirs, ["x"] * 50 + ["y"] * 50)
    assert (grouped["low"], grouped["high"]) == (0.0, 1.0)
    assert single["high"] - single["low"] < 0.25


def test_equal_seeds_give_equal_intervals() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.random(30), rng.random(30)
    names = [str(i) for i in range(30)]
    assert paired_bootstrap(ours, theirs, names, seed=3) == paired_bootstrap(ours, theirs, names, seed=3)
    assert paired_bootstrap(ours, theirs, names, seed=3) != paired_bootstrap(ours, theirs, names, seed=4)
