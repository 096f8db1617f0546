"""PPO: advantages against brute force, a bandit whose answer is known, the same end after a kill."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestai.config import Phase2Config, RewardConfig
from orchestai.errors import DataError
from orchestai.planner.selector import FACTS, RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.environment import TableEnvironment
from orchestai.training.environment_live import LiveEnvironment, LiveOutcome, Purse
from orchestai.training.gae import baseline_of_the_same, counterfactual_advantages, generalised_advantages
from orchestai.training.heuristics import best_single
from orchestai.training.policy import PolicyResult, greedy_reward, train_policy
from orchestai.training.rewards import weigh
from orchestai.training.rollout import play
from orchestai.training.workflows import Outcomes, Workflows
from tests.training.workflow_toys import workflows

REWARDS = RewardConfig(success=10, cost=0, latency_ms=0, successful_tasks=0)
HIDDEN, WORKERS = 4, 3


def described(workers: int = WORKERS) -> DescribedWorkers:
    return DescribedWorkers(
        torch.eye(workers, HIDDEN), torch.zeros(workers, FACTS), torch.ones(workers, 1, dtype=torch.bool)
    )


def fresh(node: int = 2, *, seed: int = 0) -> RLModelSelector:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RLModelSelector(hidden_size=HIDDEN, node_size=node, size=16, dropout=0.0)


def bandit(size: int = 64, *, seed: int = 0) -> Workflows:
    """One sub-task; the state tells which of three workers succeeds."""
    right = np.random.default_rng(seed).integers(0, WORKERS, size)
    success = np.eye(WORKERS)[right][:, None, :]
    outcomes = Outcomes(success, np.ones_like(success) * 0.01, np.ones_like(success))
    states = np.zeros((size, 1, HIDDEN + 2), dtype=np.float32)
    states[np.arange(size), 0, right] = 1.0
    return Workflows(
        present=np.ones((size, 1), dtype=np.bool_),
        parents=np.zeros((size, 1, 1), dtype=np.bool_),
        allowed=np.ones((size, 1, WORKERS), dtype=np.bool_),
        budget_usd=np.full(size, np.inf),
        states=states,
        expected=outcomes,
        actual=outcomes,
        groups=np.zeros(size, dtype=np.int64),
    )


def test_gae_is_the_sum_that_its_definition_says() -> None:
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(5, 6, generator=rng), torch.randn(5, 6, generator=rng)
    lengths = [6, 1, 3, 4, 2]
    active = torch.tensor([[step < length for step in range(6)] for length in lengths])
    rewards, discount, trace = rewards * active, 0.9, 0.7
    advantages, returns = generalised_advantages(rewards, values, active, discount=discount, trace=trace)
    for row, length in enumerate(lengths):
        for start in range(6):
            total = 0.0
            for step in range(start, length):
                following = values[row, step + 1] if step + 1 < length else 0.0
                delta = rewards[row, step] + discount * following - values[row, step]
                total += (discount * trace) ** (step - start) * float(delta)
            assert float(advantages[row, start]) == pytest.approx(total, abs=1e-5)
            wanted = total + float(values[row, start]) if start < length else 0.0
            assert float(returns[row, start]) == pytest.approx(wanted, abs=1e-5)


def test_with_a_trace_of_one_the_returns_are_the_rewards_to_come() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    active = torch.ones(1, 3, dtype=torch.bool)
    _, returns = generalised_advantages(rewards, torch.randn(1, 3), active, discount=1.0, trace=1.0)
    torch.testing.assert_close(returns, torch.tensor([[7.0, 6.0, 4.0]]))


def test_a_baseline_of_the_same_workflow_leaves_itself_out() -> None:
    found = baseline_of_the_same(torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0]), 3)
    torch.testing.assert_close(found, torch.tensor([1 - 4.0, 2 - 3.5, 6 - 1.5, 0, 0, 0]))


def test_counterfactual_advantages_are_zero_on_average() -> None:
    swapped = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(1))
    probabilities = torch.softmax(torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(2)), -1)
    each = torch.stack([counterfactual_advantages(swapped, probabilities, torch.full((7, 2), w)) for w in range(3)], -1)
    torch.testing.assert_close((probabilities * each).sum(-1), torch.zeros(7, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(each[..., 0] - each[..., 1], swapped[..., 0] - swapped[..., 1])


@pytest.mark.parametrize(
    "recipe",
    [
        {"advantage": "gae"},
        {"advantage": "same_workflow", "repeats": 4, "workflows": 32},
        {"advantage": "counterfactual"},
    ],
    ids=["gae", "same_workflow", "counterfactual"],
)
def test_ppo_learns_the_bandit(recipe: dict[str, Any], tmp_path: Path) -> None:
    config = Phase2Config(**{"workflows": 128, "learning_rate": 3e-3, "updates": 24, "max_kl": 0.2, **recipe})
    training, held = TableEnvironment(bandit(), REWARDS), TableEnvironment(bandit(seed=1), REWARDS)
    policy = fresh()
    before = greedy_reward(policy, described(), held, seed=0)["success"]
    result = train_policy(config, policy, described(), training, held, state_folder=tmp_path / "state")
    assert before < 0.7
    assert greedy_reward(policy, described(), held, seed=0)["success"] == 1.0
    assert result.best_update > 0
    assert not (tmp_path / "state").exists()


def test_ppo_learns_to_stay_within_a_mask(tmp_path: Path) -> None:
    allowed = np.ones((64, 1, WORKERS), dtype=np.bool_)
    allowed[:, 0, 1] = False
    flows = Workflows(**{**vars(bandit()), "allowed": allowed})
    policy, environment = fresh(), TableEnvironment(flows, REWARDS)
    config = Phase2Config(updates=5, workflows=64)
    train_policy(config, policy, described(), environment, environment, state_folder=tmp_path / "state")
    for greedy in (True, False):
        played, _ = play(policy, described(), environment, np.arange(64), seed=3, greedy=greedy)
        assert not (played.actions == 1).any()


def test_ppo_beats_every_single_worker_where_the_state_tells_who_is_right(tmp_path: Path) -> None:
    """Two sub-tasks of different kinds: nobody can do both."""
    flows = bandit(128, seed=4)
    success = np.concatenate([flows.actual.success, np.roll(flows.actual.success, 1, axis=-1)], axis=1)
    outcomes = Outcomes(success, np.ones_like(success), np.ones_like(success))
    parents = np.zeros((128, 2, 2), dtype=np.bool_)
    parents[:, 1, 0] = True
    states = np.concatenate([flows.states, np.roll(flows.states, 3, axis=-1)], axis=1)
    both = Workflows(
        present=np.ones((128, 2), dtype=np.bool_),
        parents=parents,
        allowed=np.ones((128, 2, WORKERS), dtype=np.bool_),
        budget_usd=np.full(128, np.inf),
        states=states,
        expected=outcomes,
        actual=outcomes,
        groups=np.zeros(128, dtype=np.int64),
    )
    environment, policy = TableEnvironment(both, REWARDS), fresh()
    config = Phase2Config(updates=30, workflows=128, learning_rate=3e-3, max_kl=0.2)
    train_policy(config, policy, described(), environment, environment, state_folder=tmp_path / "state")
    reached = greedy_reward(policy, described(), environment, seed=0)["reward"]
    singles = [weigh(REWARDS, both.totals(both.actual, best_single(both, w))).mean() for w in range(WORKERS)]
    assert max(singles) == 0
    assert reached > 9


def run(folder: Path, policy: RLModelSelector, **more: Any) -> PolicyResult:
    flows, held = workflows(seed=1), workflows(seed=2)
    rewards = RewardConfig(success=10, cost=-10, latency_ms=-0.0001, successful_tasks=0.1)
    config = Phase2Config(**{"updates": 6, "workflows": 32, "seed": 5, **more.pop("config", {})})
    return train_policy(
        config,
        policy,
        described(4),
        TableEnvironment(flows, rewards),
        TableEnvironment(held, rewards),
        state_folder=folder,
        **more,
    )


@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(after: int, tmp_path: Path) -> None:
    whole, killed = fresh(), fresh()
    wanted = run(tmp_path / "a", whole)

    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", killed, on_update=stop)
    resumed, rows = fresh(), []
    found = run(tmp_path / "b", resumed, on_update=lambda row: rows.append(row["epoch"]))
    assert rows == list(range(after + 1, 7))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert [row["train"] for row in found.history] == [row["train"] for row in wanted.history]
    other = fresh(seed=1)
    rows.clear()
    run(tmp_path / "c", other, on_update=lambda row: rows.append(row["epoch"]))
    assert rows == list(range(1, 7))


def test_a_state_of_another_recipe_is_not_continued(tmp_path: Path) -> None:
    def stop(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, fresh(), on_update=stop)
    rows: list[int] = []
    run(tmp_path, fresh(), config={"clip": 0.1}, on_update=lambda row: rows.append(row["epoch"]))
    assert rows[0] == 1


def test_what_it_began_with_stays_where_nothing_better_is_found(tmp_path: Path) -> None:
    policy = fresh()
    before = copy.deepcopy(policy.state_dict())
    # Steps so small that the choices stay as they are: no round validates better than the beginning.
    result = run(tmp_path, policy, config={"learning_rate": 1e-12, "weight_decay": 0.0})
    assert result.best_update == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.state_dict().items())


def test_it_stops_early(tmp_path: Path) -> None:
    result = run(tmp_path, fresh(), config={"updates": 40, "learning_rate": 1e-12, "patience": 2, "validate_every": 2})
    assert result.history[-1]["epoch"] == 4


def test_rewards_that_are_not_finite_are_named(tmp_path: Path) -> None:
    flows = bandit()
    broken = flows.with_actual(flows.actual._replace(success=np.full_like(flows.actual.success, np.nan)))
    with pytest.raises(DataError, match="loss of PPO"):
        train_policy(
            Phase2Config(updates=2),
            fresh(),
            described(),
            TableEnvironment(broken, REWARDS),
            TableEnvironment(flows, REWARDS),
            state_folder=tmp_path / "state",
        )


def test_a_live_training_ends_when_the_money_is_spent(tmp_path: Path) -> None:
    flows = bandit(8)
    runs = []

    def execute(row: int, workers: Any) -> LiveOutcome:
        runs.append(row)
        return LiveOutcome(bool(flows.actual.success[row, 0, workers[0]]), 0.01, 1.0, 1)

    live = LiveEnvironment(flows, REWARDS, execute, Purse(0.25))
    config = Phase2Config(updates=10, workflows=8)
    result = train_policy(
        config, fresh(), described(), live, TableEnvironment(flows, REWARDS), state_folder=tmp_path / "state"
    )
    assert len(runs) == 25
    assert result.history[-1]["epoch"] == 3
