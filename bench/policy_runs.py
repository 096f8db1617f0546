"""One seed of the benchmark of Phase 2: train PPO, run it and what it must beat on held-out workflows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from orchestai.config import Phase2Config, RewardConfig
from orchestai.contracts import Modality
from orchestai.evaluation.routing import paired_interval
from orchestai.planner.selector import FACTS, PLANNED, RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.composition import Questions, Shape, compose
from orchestai.training.environment import TableEnvironment
from orchestai.training.heuristics import best_single, fit_argmax, greedy, oracle, settled, supervised_argmax
from orchestai.training.policy import train_policy
from orchestai.training.rewards import reward_scale, weigh
from orchestai.training.rollout import play
from orchestai.training.views import ForesightView, situation_size
from orchestai.training.workflows import Actions, Workflows

Array = npt.NDArray[np.float64]

SHARPNESS = 20.0
DROPOUT = 0.5
SIZE = 64
TRAINING, VALIDATION, TEST = 6000, 2000, 4000
GROUPS = 20
METHODS = ("ppo", "supervised_argmax", "greedy", "settled", "best_single", "oracle")


class Workers(NamedTuple):
    """What the policy is told of the workers, and which one did best over all."""

    described: DescribedWorkers
    best_single: int


class Sets(NamedTuple):
    """Workflows to learn from, to choose on, to measure on; no question is in two of them."""

    training: Workflows
    validation: Workflows
    test: Workflows


def describe(descriptions: Array, prices: Array, latency_ms: Array, best: int) -> Workers:
    """Put descriptions [W, H], prices [W, 2] and typical times [W] into the form of the selector."""
    facts = np.zeros((len(prices), FACTS), dtype=np.float32)
    facts[:, :2] = np.log1p(prices)
    facts[:, 2] = np.log1p(latency_ms) / 10
    facts[:, 4 + PLANNED.index(Modality.CHAT)] = 1.0
    able = torch.ones(len(prices), 1, dtype=torch.bool)
    return Workers(
        DescribedWorkers(torch.from_numpy(descriptions.astype(np.float32)), torch.from_numpy(facts), able), best
    )


def make_sets(train: Questions, test: Questions, shapes: list[Shape], workers: Workers, seed: int) -> Sets:
    """Compose the workflows of one seed; a quarter of the training questions is for validation."""
    order = np.random.default_rng(0).permutation(len(train))  # the same for all seeds
    cut = int(0.75 * len(train))
    best = workers.best_single
    return Sets(
        compose(train.take(order[:cut]), shapes, count=TRAINING, best_single=best, seed=3 * seed + 1),
        compose(train.take(order[cut:]), shapes, count=VALIDATION, best_single=best, seed=3 * seed + 2),
        compose(test, shapes, count=TEST, best_single=best, seed=3 * seed + 3, groups=GROUPS),
    )


def run_seed(config: Phase2Config, rewards: RewardConfig, sets: Sets, workers: Workers, seed: int) -> dict[str, Any]:
    """Train and measure; returns `reward`, `success`, `cost`, `latency` by method, and what is worth knowing."""
    view = ForesightView(rewards, sharpness=SHARPNESS)
    sets = Sets(*(replace(each, planned=settled(each, rewards)) for each in sets))
    training, validation, test = (TableEnvironment(each, rewards, view=view) for each in sets)
    if not config.masking:
        training = TableEnvironment(sets.training, rewards, view=view, masked=False)
    hidden = sets.training.states.shape[-1]
    policy = fresh_policy(hidden, sets.training.workers, seed)
    with tempfile.TemporaryDirectory() as scratch:
        trained = train_policy(
            config.model_copy(update={"seed": seed}),
            policy,
            workers.described,
            training,
            validation,
            state_folder=Path(scratch) / "state",
        )
    flows = sets.test
    _, ended = play(policy, workers.described, test, np.arange(len(flows)), seed=seed, greedy=True)
    argmax = fit_argmax(sets.training, rewards)
    actions: dict[str, Actions] = {
        "supervised_argmax": supervised_argmax(flows, argmax),
        "greedy": greedy(flows, rewards),
        "best_single": best_single(flows, workers.best_single),
        "settled": flows.planned if flows.planned is not None else settled(flows, rewards),
        "oracle": oracle(flows, rewards),
    }
    totals = {"ppo": ended.totals} | {name: flows.totals(flows.actual, each) for name, each in actions.items()}
    worth = {name: weigh(rewards, each) for name, each in totals.items()}
    length = flows.present.sum(1)
    return {
        "reward": {name: float(worth[name].mean()) for name in METHODS},
        "success": {name: float(totals[name].success.mean()) for name in METHODS},
        "cost": {name: float(totals[name].cost_usd.mean()) for name in METHODS},
        "latency": {name: float(totals[name].latency_ms.mean()) for name in METHODS},
        "task_success": {name: float(totals[name].successful_tasks.sum() / length.sum()) for name in METHODS},
        "gain": {name: _by_group(worth["ppo"] - worth[name], flows.groups) for name in METHODS[1:]},
        "training": {
            "best_update": trained.best_update,
            "updates": trained.history[-1]["epoch"],
            "seconds": trained.seconds,
            "first_validation_reward": trained.history[0]["validation"]["reward"],
            "best_validation_reward": max(
                row["validation"]["reward"] for row in trained.history if "validation" in row
            ),
            "argmax_usd": argmax.usd,
            "argmax_ms": argmax.ms,
        },
        "reward_scale": reward_scale(rewards, sets.training)._asdict(),
    }


def fresh_policy(hidden: int, workers: int, seed: int) -> RLModelSelector:
    """Return a policy that adds nothing to the prior yet: it begins by carrying out what is planned."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = RLModelSelector(hidden_size=hidden, node_size=situation_size(workers), size=SIZE, dropout=DROPOUT)
    for parameter in policy.state[-1].parameters():
        nn.init.zeros_(parameter)
    return policy


def _by_group(gain: Array, groups: Actions) -> dict[str, float]:
    """Interval over groups of questions: workflows of one group share questions, those of two share none."""
    means = np.array([gain[groups == group].mean() for group in np.unique(groups)])
    return paired_interval(means)._asdict()
