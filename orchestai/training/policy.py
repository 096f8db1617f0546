"""Trains a policy over workers with PPO: act, judge, learn, validate; can be killed and goes on."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from orchestai.config import Phase2Config
from orchestai.errors import BudgetExceededError, DataError
from orchestai.planner.selector import RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.environment import WorkflowEnvironment
from orchestai.training.ppo import judge, learn
from orchestai.training.rollout import play
from orchestai.training.state import Averages, TrainingState, discard_state, load_state, save_state
from orchestai.training.workflows import Actions

_log = logging.getLogger(__name__)

AVERAGE_DECAY = 0.8
"""Decay of the moving average of the weights, a round; the average is what is validated and kept."""

_SCALE_EPISODES = 512


class PolicyResult(NamedTuple):
    """What came of a training.

    Attributes:
        history: One row a round.
        best_update: The round whose averaged weights validated best; 0 is the policy that it began with.
        seconds: Time spent.
        reward_scale: What rewards were divided by.
    """

    history: list[dict[str, Any]]
    best_update: int
    seconds: float
    reward_scale: float


def train_policy(
    config: Phase2Config,
    policy: RLModelSelector,
    workers: DescribedWorkers,
    training: WorkflowEnvironment,
    validation: WorkflowEnvironment,
    *,
    state_folder: Path,
    identity: str = "",
    resume: bool = True,
    on_update: Callable[[dict[str, Any]], None] | None = None,
    keep: Literal["best", "last"] = "best",
) -> PolicyResult:
    """Train `policy` in place; it ends with the weights that validated best, or with the last ones.

    The policy that it began with takes part in the choice: where nothing better is found, it stays as it was.
    Every draw is seeded by the number of the round, so that a training that was killed and goes on ends with the
    weights of an uninterrupted one (a live environment excepted). Where the money of a live environment is spent,
    training ends with what it has.

    Args:
        config: The recipe's numbers.
        policy: Begins as Phase 1 left it.
        workers: The catalog.
        training: Where it acts and learns.
        validation: Where the rounds are compared.
        state_folder: Keeps the state between rounds; removed at the end.
        identity: Of the data; a state of other data, another recipe or other weights is not continued.
        resume: Whether to continue a state that is there.
        on_update: Called with each row of the history.
        keep: Which weights; with `last` nothing but the number of rounds and the money ends the training.

    Raises:
        DataError: There is no workflow, or a loss is not finite.
        StorageError: The state cannot be written.
    """
    if not training.size or not validation.size:
        raise DataError("Phase 2 needs workflows to train on and others to validate on.", remedy="Give more data.")
    fingerprint = _fingerprint(config, policy, identity)
    if not resume:
        discard_state(state_folder)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    averages = Averages(policy, AVERAGE_DECAY)
    # Not where it learns: that may cost money.
    scale = _reward_scale(config, policy, workers, validation)
    state = load_state(state_folder, fingerprint, policy, optimizer, averages)
    if state is None:
        state = TrainingState()
        state.see(_row(0, _validate(config, policy, workers, validation), {}, 0.0), policy)

    for update in range(state.epoch + 1, config.updates + 1):
        if keep == "best" and state.stale >= config.patience * config.validate_every:
            break
        begun = time.monotonic()
        seed = config.seed * 100_003 + update
        rows = _draw(training.size, config, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # dropout
            try:
                played, ended = play(
                    policy, workers, training, rows, seed=seed, counterfactual=config.advantage == "counterfactual"
                )
            except BudgetExceededError as error:
                _log.warning("Training ends before round %d, the money is spent: %s", update, error)
                break
            share = (update - 1) / max(1, config.updates - 1)
            learned = learn(
                policy,
                workers,
                judge(played, config, scale=scale),
                optimizer,
                config,
                entropy_weight=config.entropy + share * (config.entropy_end - config.entropy),
                generator=torch.Generator().manual_seed(seed),
            )
        averages.update(policy)
        learned["train_reward"] = float(ended.rewards.sum(1).mean())
        with averages.swapped_in(policy):
            found = None
            if update % config.validate_every == 0 or update == config.updates:
                found = _validate(config, policy, workers, validation)
            row = _row(update, found, learned, time.monotonic() - begun)
            if found is None:
                _remember(state, row)
            else:
                state.see(row, policy)
        save_state(state_folder, fingerprint, state, policy, optimizer, averages)
        if on_update is not None:
            on_update(row)
    kept = state.best_epoch
    if keep == "best":
        policy.load_state_dict(state.best)
    elif state.epoch:
        kept = state.epoch
        policy.load_state_dict(averages.tensors)
    policy.eval()
    discard_state(state_folder)
    return PolicyResult(state.history, kept, state.seconds, scale)


def greedy_reward(
    policy: RLModelSelector, workers: DescribedWorkers, environment: WorkflowEnvironment, *, seed: int
) -> dict[str, float]:
    """Return what the likeliest workers come to on all workflows of an environment: means a workflow."""
    _, ended = play(policy, workers, environment, np.arange(environment.size), seed=seed, greedy=True)
    totals = ended.totals
    return {
        "reward": float(ended.rewards.sum(1).mean()),
        "success": float(totals.success.mean()),
        "cost_usd": float(totals.cost_usd.mean()),
        "latency_ms": float(totals.latency_ms.mean()),
    }


def _validate(
    config: Phase2Config, policy: RLModelSelector, workers: DescribedWorkers, environment: WorkflowEnvironment
) -> dict[str, float]:
    return greedy_reward(policy, workers, environment, seed=config.seed)


def _row(update: int, found: dict[str, float] | None, learned: dict[str, float], seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {"epoch": update, "train": learned, "metrics": {}, "seconds": seconds}
    if found is not None:
        # What is minimised, by the name that the shared state knows.
        row |= {"validation": found, "validation_loss": -found["reward"]}
    return row


def _remember(state: TrainingState, row: dict[str, Any]) -> None:
    """Note a round that was not validated."""
    state.epoch = row["epoch"]
    state.seconds += row["seconds"]
    state.stale += 1
    state.history.append(row)


def _draw(size: int, config: Phase2Config, seed: int) -> Actions:
    rows = np.random.default_rng(seed).integers(0, size, config.workflows)
    return np.repeat(rows, config.repeats)


def _reward_scale(
    config: Phase2Config, policy: RLModelSelector, workers: DescribedWorkers, environment: WorkflowEnvironment
) -> float:
    """Deviation of the first policy's rewards: GAE and the critic see numbers of the size of 1."""
    if not config.scale_rewards:
        return 1.0
    rows = np.random.default_rng(config.seed).integers(0, environment.size, _SCALE_EPISODES)
    _, ended = play(policy, workers, environment, rows, seed=config.seed)
    return max(float(ended.rewards.sum(1).std()), 1e-6)


def _fingerprint(config: Phase2Config, policy: RLModelSelector, identity: str) -> str:
    digest = hashlib.sha256(f"{config.model_dump_json()}\0{identity}".encode())
    for name, tensor in policy.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
