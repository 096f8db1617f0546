"""Every expected number is worked out by hand in the comment beside it."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai.contracts import PlanExample, PlanPrediction
from orchestai.errors import InputError
from orchestai.evaluation import metrics
from orchestai.evaluation.confusion import NOTHING, confusion


def gold(types: str, *dependencies: tuple[int, ...], **more: object) -> PlanExample:
    return PlanExample.model_validate(
        {"id": "g", "instruction": "i", "task_types": tuple(types), "dependencies": dependencies, **more}
    )


def plan(types: str, *dependencies: tuple[int, ...], confidence: float = 0.0) -> PlanPrediction:
    return PlanPrediction(task_types=tuple(types), dependencies=dependencies, confidence=confidence)


CHAIN = gold("abc", (), (0,), (1,))


def test_node_f1_of_one_sample() -> None:
    # 2 of 2 predicted are right, 2 of 3 gold are found: F1 = 2 * 2 / (2 + 3)
    assert metrics.node_f1([CHAIN], [plan("ab", (), (0,))]) == pytest.approx(4 / 5)


def test_node_f1_counts_a_type_as_often_as_it_occurs() -> None:
    twice = gold("aba", (), (0,), (1,))
    assert metrics.node_f1([twice], [plan("aba", (), (0,), (1,))]) == 1.0
    # a once and b once of {a, a, b}: 2 * 2 / (2 + 3)
    assert metrics.node_f1([twice], [plan("ab", (), (0,))]) == pytest.approx(0.8)
    # {a, a, a} against {a, a, b}: 2 * 2 / 6
    assert metrics.node_f1([twice], [plan("aaa", (), (0,), (1,))]) == pytest.approx(2 / 3)


def test_node_f1_is_the_mean_of_samples_not_of_all_nodes() -> None:
    # (1 + 0) / 2; pooling all nodes would give 2 * 1 / (2 + 4)
    score = metrics.node_f1([gold("a", ()), CHAIN], [plan("a", ()), plan("x", ())])
    assert score == pytest.approx(0.5)


def test_an_unanswered_sample_is_wrong() -> None:
    golds, answered = [CHAIN, CHAIN], [plan("abc", (), (0,), (1,)), None]
    assert metrics.node_f1(golds, answered) == 0.5
    assert metrics.link_f1(golds, answered) == 0.5
    assert metrics.edge_f1(golds, answered) == 0.5
    assert metrics.exact(golds, answered) == 0.5
    assert metrics.decomposition_accuracy(golds, answered) == 0.5
    assert metrics.dag_validity(answered) == 50.0
    # also where the gold plan has no link and an empty answer would agree
    assert metrics.link_f1([gold("a", ())], [None]) == 0.0


def test_link_f1() -> None:
    # gold a>b b>c; predicted a>b a>c: one of two on both sides
    assert metrics.link_f1([CHAIN], [plan("abc", (), (0,), (0,))]) == pytest.approx(0.5)
    # direction matters: b>a c>b share nothing
    assert metrics.link_f1([CHAIN], [plan("cba", (), (0,), (1,))]) == 0.0


def test_link_f1_without_gold_links() -> None:
    apart = gold("ab", (), ())
    assert metrics.link_f1([apart], [plan("ba", (), ())]) == 1.0
    assert metrics.link_f1([apart], [plan("ab", (), (0,))]) == 0.0


def test_edge_f1_aligns_equal_types_for_the_best_agreement() -> None:
    # gold: 0a -> 2b, 1a alone. Predicted: 1a -> 2b, 0a alone. Swapping the two a makes them equal.
    assert metrics.edge_f1([gold("aab", (), (), (0,))], [plan("aab", (), (), (1,))]) == 1.0


def test_edge_f1_tells_apart_what_link_f1_cannot() -> None:
    # gold: a0 -> b1, a2 -> b3. Predicted: a0 -> b1, a0 -> b3, a2 alone.
    # typed links agree (a>b twice), but no renumbering maps both edges: 1 of 2 and 2.
    star = plan("abab", (), (0,), (), (0,))
    pairs = gold("abab", (), (0,), (), (2,))
    assert metrics.link_f1([pairs], [star]) == 1.0
    assert metrics.edge_f1([pairs], [star]) == pytest.approx(0.5)


def test_edge_f1_counts_edges_at_unmatched_nodes_as_wrong() -> None:
    # gold a>b b>c, predicted a>b b>x: 1 right of 2 and 2
    assert metrics.edge_f1([CHAIN], [plan("abx", (), (0,), (1,))]) == pytest.approx(0.5)


def test_edge_f1_of_many_equal_types_ends_and_finds_equal_graphs() -> None:
    chain = ((), *((i,) for i in range(11)))
    assert metrics.edge_f1([gold("a" * 12, *chain)], [plan("a" * 12, *chain)]) == 1.0


@pytest.mark.parametrize(
    ("predicted", "same"),
    [
        (plan("abc", (), (0,), (1,)), 1.0),
        (plan("cba", (), (0,), (1,)), 0.0),  # the reversed chain
        (plan("abc", (), (0,), (0, 1)), 0.0),  # one transitive edge more
        (plan("abc", (), (0,), ()), 0.0),  # one edge less
        (plan("acb", (), (0,), (1,)), 0.0),  # types in another order
        (plan("abcc", (), (0,), (1,), ()), 0.0),
    ],
)
def test_exact_on_a_chain(predicted: PlanPrediction, same: float) -> None:
    assert metrics.exact([CHAIN], [predicted]) == same


def test_exact_ignores_how_independent_subtasks_are_ordered() -> None:
    fan = gold("abcd", (), (0,), (0,), (1, 2))
    assert metrics.exact([fan], [plan("acbd", (), (0,), (0,), (2, 1))]) == 1.0
    assert metrics.exact([fan], [plan("acbd", (), (0,), (0,), (2,))]) == 0.0


def test_exact_is_not_fooled_by_equal_degrees() -> None:
    # two 3-chains against a 2-chain and a 4-chain of one type: the same types and number of edges
    threes = gold("aaaaaa", (), (0,), (1,), (), (3,), (4,))
    others = plan("aaaaaa", (), (0,), (1,), (2,), (), (4,))
    assert metrics.exact([threes], [others]) == 0.0


def test_exact_of_twenty_equal_nodes_ends() -> None:
    apart = tuple(() for _ in range(20))
    assert metrics.exact([gold("a" * 20, *apart)], [plan("a" * 20, *apart)]) == 1.0


def test_decomposition_ignores_order_and_edges() -> None:
    assert metrics.decomposition_accuracy([CHAIN], [plan("cab", (), (), ())]) == 1.0
    assert metrics.decomposition_accuracy([CHAIN], [plan("ab", (), ())]) == 0.0


@pytest.mark.parametrize(
    ("predicted", "valid"),
    [
        (plan("ab", (), (0,)), True),
        (plan("ab", (1,), ()), True),
        (plan(""), False),
        (plan("ab", ()), False),
        (plan("ab", (), (2,)), False),
        (plan("ab", (), (-1,)), False),
        (plan("ab", (1,), (0,)), False),
        (plan("a", (0,)), False),
        (plan("ab", (), (0, 0)), False),
        (plan("ax", (), (0,)), False),
        (plan("a" * 21, *(() for _ in range(21))), False),
    ],
)
def test_validity(predicted: PlanPrediction, valid: bool) -> None:
    assert metrics.is_valid(predicted, frozenset("ab")) is valid


def test_dag_validity_is_a_percentage() -> None:
    plans = [plan("a", ()), plan("a", ()), plan("a", (0,)), None]
    assert metrics.dag_validity(plans) == 50.0


def test_ece_by_hand() -> None:
    # two bins of two: (.1, .3) right 1 of 2 -> |.2 - .5| = .3; (.7, .9) right 2 of 2 -> |.8 - 1| = .2
    assert metrics.ece([0.9, 0.1, 0.7, 0.3], [1, 0, 1, 1], bins=2) == pytest.approx(0.25)


def test_ece_of_one_constant_confidence_is_its_distance_from_the_accuracy() -> None:
    # 30 samples would fill 15 bins; equal confidences must share one, whatever their order
    outcomes = [1.0] * 12 + [0.0] * 18
    assert metrics.ece([0.5] * 30, outcomes) == pytest.approx(0.1)
    assert metrics.ece([0.5] * 30, outcomes[::-1]) == pytest.approx(0.1)


def test_ece_bins_hold_equal_mass() -> None:
    confidences = [0.01 * i for i in range(30)]
    rows = metrics.reliability(confidences, [0.0] * 30)
    assert [n for _, _, n in rows] == [2] * 15


def test_brier_by_hand() -> None:
    # the squares of .2 and .4 are .04 and .16; their mean is .1
    assert metrics.brier([0.8, 0.4], [1, 0]) == pytest.approx(0.1)


def test_confidences_outside_of_0_to_1_are_refused() -> None:
    for bad in (1.2, -0.1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            metrics.ece([bad], [1])


def test_model_selection_leaves_imitation_out() -> None:
    known = gold("ab", (), (0,), model_selections=("x", "y"))
    imitated = gold("ab", (), (0,), model_selections=("x", "y"), imitation=True)
    unknown = gold("ab", (), (0,))
    chosen = [("x", "z"), ("x", "y"), ("x", "y")]
    assert metrics.model_selection_accuracy([known, imitated, unknown], chosen) == 0.5
    # an answer that is too short or missing is wrong for the nodes it leaves out
    assert metrics.model_selection_accuracy([known, known], [("x",), None]) == 0.25
    assert metrics.model_selection_accuracy([imitated], [("x", "y")]) is None


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(InputError, match="no sample"):
        metrics.node_f1([], [])
    with pytest.raises(InputError, match="1 examples but 2"):
        metrics.node_f1([CHAIN], [None, None])


def test_confusion_matches_equal_types_first() -> None:
    # gold a b c, predicted c x: c-c match; a is left for x; b finds nobody. Second sample: nothing predicted.
    matrix = confusion([CHAIN, gold("a", ())], [plan("cx", (), (0,)), None], ["a", "b", "c"])
    assert matrix.labels == ("a", "b", "c", "x", NOTHING)
    expected = np.zeros((5, 5), dtype=int)
    expected[2, 2] = expected[0, 3] = expected[1, 4] = expected[0, 4] = 1
    assert (matrix.array() == expected).all()
    assert matrix.accuracy == pytest.approx(1 / 4)


def test_confusion_shows_superfluous_types() -> None:
    matrix = confusion([gold("a", ())], [plan("ab", (), ())], ["a", "b"])
    assert matrix.counts == ((1, 0, 0), (0, 0, 0), (0, 1, 0))
    assert matrix.accuracy == 1.0
