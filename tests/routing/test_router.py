"""The learned router: what it prefers, when it abstains, what happens as workers come, go and change."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestai.config.training import RouterConfig
from orchestai.contracts import TaskType, WorkerProfile
from orchestai.errors import CheckpointError, DataError, InputError
from orchestai.routing.coldstart import Newcomer, without
from orchestai.routing.features import LEXICAL_SIZE, lexical, lexical_matrix
from orchestai.routing.logistic import apply_logistic, fit_logistic, logit, sigmoid
from orchestai.routing.model import RouterModel
from orchestai.routing.policy import PricePoint, RoutingPolicy, choose
from orchestai.routing.retrieval import recall
from orchestai.routing.router import Router
from orchestai.routing.store import load_router, save_router
from orchestai.routing.timing import CallFacts, fit_times
from orchestai.training.router import _Judged, _tune_abstention, train_router
from tests.routing.world import KINDS, QUALITY, USD, WIDTH, WORKERS, world

QUICK = RouterConfig(folds=3, epochs=4, batch_size=32, seed=1)
TASK = TaskType(name="answer", description="Answer.", max_output_tokens=100)
PROFILES = tuple(
    WorkerProfile(name=name, description=name, model=name, output_usd_per_mtok=1e4 * usd)
    for name, usd in zip(WORKERS, USD, strict=True)
)


@pytest.fixture(scope="module")
def model() -> RouterModel:
    return train_router(world(), QUICK)


def test_each_kind_goes_to_its_specialist(model: RouterModel) -> None:
    fresh = world(90, seed=5)
    found = model.predict(fresh.embeddings, fresh.lexical)
    chosen = choose(
        found.success_if_known, found.known, np.zeros_like(found.success), model.policy, base=model.base
    ).chosen
    for kind, wanted in (("code", "coder"), ("maths", "mathematician")):
        rows = np.array(fresh.table.families) == kind
        assert (chosen[rows] == WORKERS.index(wanted)).mean() > 0.8, kind
    gained = fresh.table.scores[np.arange(90), chosen].mean() - fresh.table.scores[:, model.base].mean()
    assert gained > 0.05


def test_probabilities_are_near_the_truth(model: RouterModel) -> None:
    fresh = world(300, seed=6)
    found = model.predict(fresh.embeddings, fresh.lexical)
    truth = QUALITY[[KINDS.index(kind) for kind in fresh.table.families]]
    assert np.abs(found.success - truth).mean() < 0.1
    assert ((found.success > 0) & (found.success < 1)).all()


def test_a_strange_text_goes_to_the_best_single_worker(model: RouterModel) -> None:
    embedding = -world().embeddings[0]
    text = "Übersetze: Guten Morgen; wie geht es Ihnen heute?\n" * 20
    decision = Router(model).route(text, TASK, PROFILES, embedding=embedding)
    assert decision.worker == model.policy.best_single
    assert decision.confidence < 0.5


def test_prices_are_those_of_the_call(model: RouterModel) -> None:
    data = world(90, seed=7)
    place = data.table.families.index("trivia")
    text, embedding = data.table.texts[place], data.embeddings[place]
    free = Router(model).route(text, TASK, PROFILES, embedding=embedding)
    thrifty = Router(model).route(text, TASK, PROFILES, embedding=embedding, price_weight=0.5)
    assert free.worker == "generalist"  # .75 against .70 of the cheap one
    assert thrifty.worker == "cheap"
    assert thrifty.expected_usd < free.expected_usd
    dear = [each.model_copy(update={"output_usd_per_mtok": 1e6}) if each.name == "cheap" else each for each in PROFILES]
    assert Router(model).route(text, TASK, dear, embedding=embedding, price_weight=0.5).worker == "generalist"


def test_a_worker_that_is_gone_is_not_chosen(model: RouterModel) -> None:
    data = world(90, seed=8)
    rest = [each for each in PROFILES if each.name != model.policy.best_single]
    for place in range(12):
        decision = Router(model).route(data.table.texts[place], TASK, rest, embedding=data.embeddings[place])
        assert decision.worker in {each.name for each in rest}
        assert model.policy.best_single not in decision.ranked


def test_the_best_single_worker_has_an_heir(model: RouterModel) -> None:
    heir = without(model, model.policy.best_single)
    assert heir.policy.best_single != model.policy.best_single
    assert without(model, "somebody else") is model


def test_without_a_model_the_rule_decides() -> None:
    decision = Router().route("text", TASK, PROFILES)
    assert decision.worker == "cheap"
    assert decision.success is None
    assert "rule" in decision.reason


def test_without_candidates_it_says_so(model: RouterModel) -> None:
    with pytest.raises(InputError, match="no candidate"):
        Router(model).route("text", TASK, [])


@pytest.mark.parametrize("bad", [np.zeros(3), np.full(WIDTH, np.nan)])
def test_a_wrong_embedding_is_refused(model: RouterModel, bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="finite numbers"):
        Router(model).route("text", TASK, PROFILES, embedding=bad)


def test_a_newcomer_is_like_those_it_resembles_until_it_is_seen(model: RouterModel) -> None:
    fresh = world(300, seed=9)
    expected = model.predict(fresh.embeddings, fresh.lexical).success
    newcomer = Newcomer(model, np.eye(len(WORKERS), WIDTH)[WORKERS.index("coder")])
    assert newcomer.weights[:-1].argmax() == WORKERS.index("coder")
    truth = fresh.table.scores[:, WORKERS.index("mathematician")]
    before = ((newcomer.success(expected) - truth) ** 2).mean()
    newcomer.observe(expected[:60], truth[:60])
    after = ((newcomer.success(expected[60:]) - truth[60:]) ** 2).mean()
    assert after < 0.75 * before
    profile = WorkerProfile(name="new", description="new", model="new")
    router = Router(model, {"new": newcomer})
    place = fresh.table.families.index("maths")
    decision = router.route(fresh.table.texts[place], TASK, [*PROFILES, profile], embedding=fresh.embeddings[place])
    assert "new" in decision.ranked


def test_it_is_the_same_after_saving(model: RouterModel, tmp_path: Path) -> None:
    save_router(model, tmp_path / "router", encoder="e", seed=1)
    again = load_router(tmp_path / "router", encoder="e")
    fresh = world(20, seed=3)
    for one, two in zip(
        model.predict(fresh.embeddings, fresh.lexical), again.predict(fresh.embeddings, fresh.lexical), strict=True
    ):
        np.testing.assert_allclose(one, two, atol=1e-12)
    assert again.policy == model.policy
    with pytest.raises(CheckpointError, match="another encoder"):
        load_router(tmp_path / "router", encoder="f")


def test_equal_seeds_give_equal_routers(model: RouterModel) -> None:
    again = train_router(world(), QUICK)
    np.testing.assert_array_equal(again.stack, model.stack)
    assert again.policy == model.policy


def test_one_kind_alone_can_be_learned() -> None:
    found = train_router(world(kinds=("code",)), QUICK.model_copy(update={"attention": False}))
    assert found.policy.best_single == "coder"


def test_unmeasured_outcomes_are_no_failures() -> None:
    data = world()
    scores = data.table.scores.copy()
    scores[::2, WORKERS.index("coder")] = np.nan
    found = train_router(
        data._replace(table=replace(data.table, scores=scores)), QUICK.model_copy(update={"attention": False})
    )
    column = WORKERS.index("coder")
    assert found.mean_scores[column] == pytest.approx(data.table.scores[1::2, column].mean(), abs=0.02)


def test_what_was_never_measured_on_a_kind_is_no_proof_that_nothing_is_lost() -> None:
    # A switch that margin 0 allows and .04 does not gains .75 on known rows and loses .5 on the unknown ones of "x":
    # .75 - 2 * .5 < 0, so the margin goes up. Counting "y" as 0 would halve the loss: .75 - .5 > 0.
    base = np.zeros(4, dtype=np.int64)
    expected = np.tile([0.5, 0.53], (4, 1))
    seen = _Judged(np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]), expected, np.ones(4), base)
    scores = np.array([[1.0, 0.0], [1.0, 1.0], [np.nan, 1.0], [np.nan, 1.0]])
    policy = RoutingPolicy(best_single="a", unknown_loss=0.03, margin=0.0, reference_usd=1.0, thrifty_weight=0.0)
    kinds = ("x", "x", "y", "y")
    assert _tune_abstention(seen, _Judged(scores, expected, np.ones(4), base), kinds, policy).margin == 0.04
    unmeasured = np.full((4, 2), np.nan)
    assert _tune_abstention(seen, _Judged(unmeasured, expected, np.ones(4), base), kinds, policy).margin == 0.0


def test_a_kind_that_the_best_single_worker_never_did_is_learned() -> None:
    data = world()
    scores = data.table.scores.copy()
    scores[np.array(data.table.families) == "code", WORKERS.index("generalist")] = np.nan
    found = train_router(
        data._replace(table=replace(data.table, scores=scores)), QUICK.model_copy(update={"attention": False})
    )
    assert found.policy.best_single == "generalist"
    assert np.isfinite(list(found.metrics.values())).all()


def test_too_little_is_refused() -> None:
    with pytest.raises(DataError, match="at least"):
        train_router(world(30), QUICK)
    data = world()
    scores = np.full_like(data.table.scores, np.nan)
    scores[:30] = data.table.scores[:30]
    with pytest.raises(DataError, match="30 sub-tasks with outcomes"):
        train_router(data._replace(table=replace(data.table, scores=scores)), QUICK)


def test_the_choice_weighs_gain_against_risk() -> None:
    policy = RoutingPolicy(best_single="a", unknown_loss=0.1, margin=0.0, reference_usd=1.0, thrifty_weight=0.0)
    success, costs = np.array([[0.5, 0.6]]), np.array([[1.0, 1.0]])
    # Worth .6 * .1 - .4 * .1 = .02 at 60 % known, .4 * .1 - .6 * .1 = -.02 at 40 %.
    assert choose(success, np.array([0.6]), costs, policy, base=0).chosen[0] == 1
    unsure = choose(success, np.array([0.4]), costs, policy, base=0)
    assert unsure.chosen[0] == 0
    assert unsure.abstained[0]
    assert choose(success, np.ones(1), np.array([[1.0, np.inf]]), policy, base=0).chosen[0] == 0
    assert choose(success, np.zeros(1), np.array([[np.inf, 1.0]]), policy, base=0).chosen[0] == 1


def test_logistic_regression_finds_the_odds() -> None:
    # Three in four succeed at 1, one in four at -1: the weight is ln 3, the intercept 0.
    inputs = np.array([[1.0]] * 40 + [[-1.0]] * 40)
    targets = np.array([1.0] * 30 + [0.0] * 10 + [1.0] * 10 + [0.0] * 30)
    weights = fit_logistic(inputs, targets, ridge=0.0)
    np.testing.assert_allclose(weights, [math.log(3), 0.0], atol=1e-6)
    np.testing.assert_allclose(apply_logistic(weights, np.array([[1.0]])), [0.75], atol=1e-6)


def test_probabilities_of_zero_and_one_have_odds() -> None:
    odds = logit(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(odds, [-math.log(99), 0.0, math.log(99)])
    np.testing.assert_allclose(sigmoid(odds), [0.01, 0.5, 0.99])


def test_the_nearest_count_and_the_untried_do_not() -> None:
    bank = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    scores = np.array([[1.0, np.nan], [0.0, np.nan]])
    found = recall(np.array([[1.0, 0.0]]), bank, scores, np.array([0.5, 0.3]), neighbours=1)
    np.testing.assert_allclose(found, [[(1 + 0.05 * 0.5) / 1.05, 0.3]])


def test_form_is_seen() -> None:
    assert len(lexical("")) == LEXICAL_SIZE
    code, prose = lexical_matrix(["def f(x):\n    return 1", "Who was the first king of Rome?"])
    assert not np.array_equal(code, prose)
    assert np.isfinite(lexical_matrix(["\x00\ud800", " ", "🙂" * 50_000])).all()


def test_times_of_a_new_provider_are_those_of_the_others_until_seen() -> None:
    rng = np.random.default_rng(0)
    workers = [f"w{place % 4}" for place in range(400)]
    level = {"w0": 6.0, "w1": 7.0, "w2": 8.0, "w3": 7.0}
    times = [math.exp(level[worker] + 0.1 * rng.normal()) for worker in workers]
    facts = CallFacts(500, 150, 7)
    fitted = fit_times(workers, [facts] * 400, times)
    assert fitted.quantile_ms("w0", facts) == pytest.approx(math.exp(6), rel=0.05)
    assert fitted.quantile_ms("new", facts) == pytest.approx(math.exp(7), rel=0.1)
    seen = fitted.observe("new", [(facts, math.exp(9.0))] * 10)
    assert seen.quantile_ms("new", facts) == pytest.approx(math.exp(9), rel=0.1)
    assert fitted.quantile_ms("new", facts, 0.9) > 2 * fitted.quantile_ms("w0", facts, 0.9)


def test_a_price_in_mind_keeps_a_standard_error_free_and_a_success_in_mind_is_the_cheapest() -> None:
    points = [(0.0, 0.9, 1.0, 0.1), (0.1, 0.85, 0.6, 0.2), (0.5, 0.8, 0.3, 0.1)]
    policy = RoutingPolicy(
        best_single="a",
        unknown_loss=0.1,
        margin=0.0,
        reference_usd=1.0,
        thrifty_weight=0.0,
        curve=tuple(PricePoint(price_weight=w, success=s, usd=u, usd_error=e) for w, s, u, e in points),
    )
    assert [policy.weight_for(usd) for usd in (2.0, 1.0, 0.8, 0.7, 0.1)] == [0.0, 0.1, 0.1, 0.5, 0.5]
    assert [policy.weight_within(success) for success in (0.95, 0.9, 0.84, 0.1)] == [0.0, 0.0, 0.1, 0.5]


def test_the_curve_counts_what_was_paid_not_what_was_expected() -> None:
    data = world(180, seed=3)
    dear = data._replace(table=data.table.with_costs(2 * data.expected_usd))
    config = RouterConfig(folds=3, attention=False, seed=1)
    curve, doubled = (train_router(each, config).policy.curve for each in (data, dear))
    assert [point.usd for point in doubled] == pytest.approx([2 * point.usd for point in curve])
    assert all(point.usd_error >= 0 for point in curve)
    assert any(point.usd_error > 0 for point in curve)
