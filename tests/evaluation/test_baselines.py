from __future__ import annotations

import numpy as np
import pytest

from orchestai.contracts import PlanExample
from orchestai.errors import DataError
from orchestai.evaluation import metrics
from orchestai.evaluation.baselines import ChancePlanner, NearestPlan, PlattScale, PooledEncoder
from orchestai.evaluation.order import OrderModel
from orchestai.evaluation.ridge import KernelRidgePlanner

WORDS = {"red": "r", "green": "g", "blue": "b", "black": "k"}


def example(*colours: str, dependencies: tuple[tuple[int, ...], ...] | None = None, n: int = 0) -> PlanExample:
    chain = tuple((i - 1,) if i else () for i in range(len(colours)))
    return PlanExample(
        id=f"{colours}{n}",
        instruction=" and ".join(f"paint {colour}" for colour in colours) + f" {n}",
        task_types=tuple(WORDS[colour] for colour in colours),
        dependencies=dependencies or chain,
    )


PAIRS = [("red", "green"), ("green", "blue"), ("red", "blue"), ("blue", "black"), ("red",), ("black",)]
TRAIN = [example(*pair, n=n) for n in range(6) for pair in PAIRS]
VALIDATION = [example(*pair, n=n) for n in range(10, 12) for pair in PAIRS]
TEST = [example(*pair, n=n) for n in range(20, 22) for pair in PAIRS]


def test_chance_is_the_most_frequent_plan() -> None:
    planner = ChancePlanner([example("red"), example("red", "blue"), example("red", "blue", n=1)])
    (plan,) = planner.predict(["anything"])
    assert plan.task_types == ("r", "b")
    assert plan.confidence == pytest.approx(2 / 3)


def test_nearest_plan_copies(encoder: PooledEncoder) -> None:
    planner = NearestPlan(TRAIN, VALIDATION, encoder)
    plans = planner.predict([e.instruction for e in TEST])
    assert metrics.exact(TEST, plans) == 1.0
    assert all(0.5 < plan.confidence <= 1 for plan in plans)
    assert planner.predict([]) == []


def test_ridge_learns_words_and_order(encoder: PooledEncoder) -> None:
    planner = KernelRidgePlanner(TRAIN, VALIDATION, encoder)
    plans = planner.predict([e.instruction for e in TEST])
    assert metrics.node_f1(TEST, plans) > 0.95
    assert metrics.exact(TEST, plans) > 0.9
    assert planner.predict([]) == []


def test_ridge_combines_what_was_never_seen_together(encoder: PooledEncoder) -> None:
    planner = KernelRidgePlanner(TRAIN, VALIDATION, encoder)
    unseen = example("green", "black")
    assert metrics.node_f1([unseen], planner.predict([unseen.instruction])) > 0.6


def test_ridge_can_repeat_a_type(encoder: PooledEncoder) -> None:
    twice = [
        PlanExample(id=f"t{n}", instruction=f"twice {n}", task_types=("r", "b", "r"), dependencies=((), (0,), (1,)))
        for n in range(4)
    ]
    planner = KernelRidgePlanner(TRAIN + twice, VALIDATION + twice[:1], encoder)
    (plan,) = planner.predict(["twice 9"])
    assert plan.task_types == ("r", "b", "r")


def test_the_test_split_is_not_seen_while_fitting(encoder: PooledEncoder) -> None:
    KernelRidgePlanner(TRAIN, VALIDATION, encoder)
    NearestPlan(TRAIN, VALIDATION, encoder)
    known = {e.instruction for e in TRAIN + VALIDATION}
    assert set(encoder.seen) <= known  # type: ignore[attr-defined]


def test_empty_splits_are_refused(encoder: PooledEncoder) -> None:
    with pytest.raises(DataError, match="train"):
        NearestPlan([], VALIDATION, encoder)
    with pytest.raises(DataError, match="validation"):
        KernelRidgePlanner(TRAIN, [], encoder)


def test_order_follows_the_transitions_of_the_training_plans() -> None:
    model = OrderModel([example("red", "green", "blue"), example("red", "green"), example("green", "blue")])
    assert model.arrange(["b", "r", "g"])[0] == ("r", "g", "b")
    assert model.arrange(["g", "r"])[:2] == (("r", "g"), ((), (0,)))


def test_order_of_a_large_set_is_complete() -> None:
    model = OrderModel(TRAIN)
    ordered, dependencies, _ = model.arrange(["r", "g", "b", "k"] * 3)
    assert sorted(ordered) == sorted(["r", "g", "b", "k"] * 3)
    assert len(dependencies) == 12


def test_known_structures_are_repeated_and_unknown_ones_built_from_edges() -> None:
    fan = example("red", "green", "blue", dependencies=((), (0,), (0,)))
    model = OrderModel([fan, fan, example("red", "green", "blue")])
    assert model.arrange(["r", "g", "b"])[1] == ((), (0,), (0,))
    # r>g and r>b were edges in all resp. most plans, g>b in one of three only
    other = OrderModel([fan, fan, example("red", "green", "blue"), example("black", dependencies=((),))])
    ordered, dependencies, _ = other.arrange(["r", "g", "b", "k"])
    links = {(ordered[p], ordered[c]) for c, ps in enumerate(dependencies) for p in ps}
    assert links == {("r", "g"), ("r", "b")}


def test_platt_scaling_recovers_a_known_curve() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000)
    correct = (rng.random(4000) < 1 / (1 + np.exp(-(2 * scores - 1)))).astype(float)
    scale = PlattScale.fit(scores, correct)
    assert scale.slope == pytest.approx(2, abs=0.2)
    assert scale.offset == pytest.approx(-1, abs=0.15)


def test_platt_scaling_never_promises_certainty() -> None:
    # 8 of 8 right: the smoothed target is 9 / 10
    scale = PlattScale.fit(np.linspace(0.5, 0.9, 8), np.ones(8))
    assert scale(np.array([0.7]))[0] == pytest.approx(0.9, abs=0.02)
    assert PlattScale.fit(np.zeros(0), np.zeros(0))(np.array([0.3])) == [0.5]
