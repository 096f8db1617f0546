"""What an assignment comes to, against arithmetic by hand and against trying everything."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from orchestai.config import RewardConfig, load_project
from orchestai.errors import BudgetExceededError, DataError, InputError
from orchestai.training.composition import compose
from orchestai.training.environment import TableEnvironment, affordable
from orchestai.training.environment_live import LiveEnvironment, LiveOutcome, Purse
from orchestai.training.heuristics import best_single, fit_argmax, greedy, oracle, settled, supervised_argmax
from orchestai.training.rewards import reward_scale, step_rewards, weigh
from orchestai.training.views import ForesightView
from orchestai.training.workflows import Actions, Outcomes, Workflows
from tests.training.workflow_toys import SHAPES, questions, workflows

BALANCED = RewardConfig(success=10, cost=-10, latency_ms=-0.0001, successful_tasks=0.1)


def diamond() -> Workflows:
    """One workflow 0 -> (1, 2) -> 3 and two workers, the second twice as slow."""
    times = np.array([[[1.0, 2.0], [10.0, 20.0], [5.0, 10.0], [3.0, 6.0]]])
    parents = np.zeros((1, 4, 4), dtype=np.bool_)
    parents[0, 1, 0] = parents[0, 2, 0] = parents[0, 3, 1] = parents[0, 3, 2] = True
    outcomes = Outcomes(np.array([[[1, 0], [1, 1], [1, 1], [0, 1]]], dtype=np.float64), times / 100, times)
    return Workflows(
        present=np.ones((1, 4), dtype=np.bool_),
        parents=parents,
        allowed=np.ones((1, 4, 2), dtype=np.bool_),
        budget_usd=np.array([np.inf]),
        states=np.zeros((1, 4, 3), dtype=np.float32),
        expected=outcomes,
        actual=outcomes,
        groups=np.zeros(1, dtype=np.int64),
    )


def test_a_diamond_takes_its_longer_arm() -> None:
    flow = diamond()
    totals = flow.totals(flow.actual, np.array([[0, 0, 1, 1]]))
    assert totals.latency_ms[0] == 1 + 10 + 6  # the arm of 10 hides the other, also of 10
    assert totals.cost_usd[0] == pytest.approx((1 + 10 + 10 + 6) / 100)
    assert (totals.success[0], totals.successful_tasks[0]) == (1, 4)
    failed = flow.totals(flow.actual, np.array([[0, 0, 1, 0]]))
    assert (failed.success[0], failed.successful_tasks[0]) == (0, 3)


def test_another_worker_for_one_subtask_is_what_trying_it_gives() -> None:
    flows = workflows()
    actions = greedy(flows, BALANCED)
    for node in range(flows.present.shape[1]):
        swapped = flows.swapped(flows.actual, actions, node)
        there = flows.present[:, node]
        for worker in range(flows.workers):
            tried = actions.copy()
            tried[there, node] = worker
            for found, wanted in zip(swapped, flows.totals(flows.actual, tried), strict=True):
                np.testing.assert_allclose(found[there, worker], wanted[there])


def test_the_rewards_of_the_decisions_add_up_to_the_documented_reward() -> None:
    flows = workflows()
    actions = greedy(flows, BALANCED)
    totals = flows.totals(flows.actual, actions)
    steps = step_rewards(BALANCED, flows, actions)
    for row in range(len(flows)):
        wanted = BALANCED.reward(
            success=bool(totals.success[row]),
            cost_usd=totals.cost_usd[row],
            latency_ms=totals.latency_ms[row],
            successful_tasks=int(totals.successful_tasks[row]),
        )
        assert steps[row].sum() == pytest.approx(wanted)
    assert (steps[~flows.present] == 0).all()


def test_weights_in_which_latency_drowns_success_are_recognised() -> None:
    """At -0.01 a millisecond a second costs what a success earns."""
    rewards = load_project().rewards
    drowned = reward_scale(rewards["default"], workflows())
    assert drowned.drowned_by == "latency"
    assert drowned.latency > 2 * drowned.success
    assert "balanced.yml" in (drowned.warning() or "")
    sound = reward_scale(rewards["balanced"], workflows())
    assert (sound.drowned_by, sound.warning()) == (None, None)
    dear = reward_scale(RewardConfig(cost=-1e5, latency_ms=0), workflows())
    assert dear.drowned_by == "cost"


def test_no_heuristic_beats_the_best_of_all_assignments_and_the_oracle_nearly_reaches_it() -> None:
    flows = workflows(40, workers=3)
    best = np.full(len(flows), -np.inf)
    for combination in itertools.product(range(3), repeat=flows.present.shape[1]):
        actions = np.tile(np.array(combination), (len(flows), 1))
        may = np.take_along_axis(flows.allowed, actions[..., None], -1)[..., 0] | ~flows.present
        spent = np.where(flows.present, flows.expected.of(actions).cost_usd, 0.0).sum(1)
        fits = may.all(1) & (spent <= flows.budget_usd * (1 + 1e-6))
        best = np.maximum(best, np.where(fits, weigh(BALANCED, flows.totals(flows.actual, actions)), -np.inf))
    others = {
        "greedy": greedy(flows, BALANCED),
        "argmax": supervised_argmax(flows, fit_argmax(flows, BALANCED)),
        "single": best_single(flows, 2),
        "settled": settled(flows, BALANCED),
        "oracle": oracle(flows, BALANCED),
    }
    hoped = {name: weigh(BALANCED, flows.totals(flows.expected, each)) for name, each in others.items()}
    assert (hoped["settled"] >= hoped["greedy"] - 1e-9).all()
    assert (hoped["settled"] > hoped["greedy"] + 1e-6).any()
    worth = {name: weigh(BALANCED, flows.totals(flows.actual, each)) for name, each in others.items()}
    for values in worth.values():
        assert (values <= best + 1e-6).all()
    assert worth["oracle"].mean() > best.mean() - 0.3
    assert worth["oracle"].mean() > worth["greedy"].mean() >= worth["single"].mean()


def test_a_budget_keeps_enough_for_the_rest() -> None:
    flows = workflows(200)
    tight = np.isfinite(flows.budget_usd)
    assert tight.any()
    for actions in (greedy(flows, BALANCED), best_single(flows, 3)):
        spent = np.where(flows.present, flows.expected.of(actions).cost_usd, 0.0).sum(1)
        assert (spent <= flows.budget_usd * (1 + 1e-6)).all()
    free = best_single(flows.take(np.flatnonzero(~tight)), 3)
    assert (free == 3).mean() > 0.8  # where nothing holds it back it takes the dear one


def test_workers_that_are_away_are_never_affordable() -> None:
    flows = workflows(100)
    for step in range(flows.present.shape[1]):
        may = affordable(flows, flows.allowed.argmax(-1), step)
        there = flows.present[:, step]
        assert not (may & ~flows.allowed[:, step])[there].any()
        assert may[there].any(-1).all()


def test_workflows_of_different_groups_share_no_question() -> None:
    asked = questions()
    flows = compose(asked, SHAPES, count=80, best_single=3, seed=1, groups=4)
    seen = {
        group: {state.tobytes() for state in flows.states[flows.groups == group][flows.present[flows.groups == group]]}
        for group in range(4)
    }
    for first, second in itertools.combinations(seen.values(), 2):
        assert not first & second


def test_too_few_questions_and_a_subtask_nobody_may_do_are_refused() -> None:
    with pytest.raises(DataError, match="fill none"):
        compose(questions(size=2), [((), (0,), (1,))], count=1, best_single=0, seed=0)
    flow = diamond()
    with pytest.raises(DataError, match="no worker"):
        Workflows(**{**vars(flow), "allowed": np.zeros((1, 4, 2), dtype=np.bool_)})


def test_an_unmasked_choice_of_a_worker_that_may_not_is_a_failure() -> None:
    flow = Workflows(**{**vars(diamond()), "allowed": np.array([[[True, False]] * 4])})
    environment = TableEnvironment(flow, BALANCED, masked=False)
    environment.reset(np.array([0]), 0)
    assert environment.observe().allowed.all()
    for _ in range(4):
        environment.act(np.array([1]))
    assert environment.end().totals.successful_tasks[0] == 0
    environment.reset(np.array([0]), 0)
    with pytest.raises(InputError, match="4 decisions"):
        environment.end()


def test_a_live_environment_runs_what_was_decided_and_stops_at_its_limit() -> None:
    flow = diamond()
    ran: list[tuple[int, list[int]]] = []

    def run(row: int, workers: list[int]) -> LiveOutcome:
        ran.append((row, list(workers)))
        return LiveOutcome(True, 0.10, 1234.0, 4)

    purse = Purse(0.40)
    environment = LiveEnvironment(flow, BALANCED, run, purse)
    environment.reset(np.array([0]), 0)
    for worker in (0, 1, 0, 1):
        environment.observe()
        environment.act(np.array([worker]))
    ended = environment.end(counterfactual=True)
    assert ran == [(0, [0, 1, 0, 1])]
    assert ended.swapped is None
    assert ended.rewards.sum() == pytest.approx(10 - 10 * 0.10 - 0.0001 * 1234 + 0.4)
    assert purse.left_usd == pytest.approx(0.30)  # the worst case was $0.32; what was not needed came back
    environment.reset(np.array([0]), 0)
    for worker in (0, 1, 0, 1):
        environment.act(np.array([worker]))
    with pytest.raises(BudgetExceededError):
        environment.end()
    assert len(ran) == 1


def walk(told: Workflows) -> Actions:
    """What a policy does that adds nothing to its prior."""
    environment = TableEnvironment(told, BALANCED, view=ForesightView(BALANCED, sharpness=20.0))
    environment.reset(np.arange(len(told)), 0)
    actions = told.allowed.argmax(-1)
    for step in range(environment.steps):
        seen = environment.observe()
        acted = np.where(seen.allowed, seen.prior, -np.inf).argmax(1)
        actions[:, step] = np.where(seen.active, acted, actions[:, step])
        environment.act(acted)
    return actions


def test_a_policy_that_adds_nothing_to_its_prior_carries_out_what_is_planned() -> None:
    flows = workflows(80, seed=4)
    plan = settled(flows, BALANCED)
    walked = walk(replace(flows, planned=plan))
    free = ~np.isfinite(flows.budget_usd)
    worth = [weigh(BALANCED, flows.totals(flows.expected, actions))[free] for actions in (walked, plan)]
    # A plan that has not quite settled is improved on the way, never spoilt.
    assert (worth[0] >= worth[1] - 1e-9).all()
    assert (walked == plan)[flows.present].mean() > 0.95
    mine = greedy(flows, BALANCED)
    np.testing.assert_array_equal(walk(flows)[flows.present], mine[flows.present])
    np.testing.assert_array_equal(
        greedy(replace(flows, planned=plan), BALANCED), mine, err_msg="greedy knows of no plan"
    )
