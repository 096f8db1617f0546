"""Policies that nobody trains, for PPO to be measured against; all of them keep to masks and budgets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from orchestai.config import RewardConfig
from orchestai.training.environment import affordable
from orchestai.training.rewards import weigh
from orchestai.training.views import expected_worth
from orchestai.training.workflows import Actions, Array, Mask, Outcomes, Workflows

Chooser = Callable[[Workflows, Actions, int, Mask], Array]
"""Scores [E, W] of the workers at one step; the best of the affordable ones is taken."""

_WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
_SWEEPS = 3


class ArgmaxWeights(NamedTuple):
    """What a dollar and a millisecond are worth to the supervised argmax, in success."""

    usd: float
    ms: float


def assign(workflows: Workflows, chooser: Chooser) -> Actions:
    """Return [E, S] the best-scored affordable workers, one sub-task after the other."""
    actions = workflows.allowed.argmax(-1).astype(np.int64)
    for step in range(workflows.present.shape[1]):
        allowed = affordable(workflows, actions, step)
        scores = np.where(allowed, chooser(workflows, actions, step, allowed), -np.inf)
        actions[:, step] = scores.argmax(1)
    return actions


def best_single(workflows: Workflows, column: int) -> Actions:
    """Always one worker; where it may not be used, the likeliest to succeed."""

    def chooser(flows: Workflows, actions: Actions, step: int, allowed: Mask) -> Array:
        scores = flows.expected.success[:, step].copy()
        scores[:, column] = 2.0
        return scores

    return assign(workflows, chooser)


def supervised_argmax(workflows: Workflows, weights: ArgmaxWeights) -> Actions:
    """Each sub-task alone: predicted success, less what its price and time are worth."""

    def chooser(flows: Workflows, actions: Actions, step: int, allowed: Mask) -> Array:
        own = flows.expected
        return own.success[:, step] - weights.usd * own.cost_usd[:, step] - weights.ms * own.latency_ms[:, step]

    return assign(workflows, chooser)


def fit_argmax(workflows: Workflows, rewards: RewardConfig) -> ArgmaxWeights:
    """Choose the argmax's weights by the reward on these (training or validation) workflows.

    The grid holds multiples of what the reward itself says a dollar and a millisecond are worth in success: how
    often a sub-task decides about the whole is what the multiple stands for.
    """
    unit = max(rewards.success, rewards.successful_tasks, 1e-9)

    def reached(weights: ArgmaxWeights) -> float:
        actions = supervised_argmax(workflows, weights)
        return float(weigh(rewards, workflows.totals(workflows.actual, actions)).mean())

    grid: Sequence[ArgmaxWeights] = [
        ArgmaxWeights(-rewards.cost / unit * usd, -rewards.latency_ms / unit * ms)
        for usd, ms in itertools.product(_WEIGHTS, _WEIGHTS)
    ]
    return max(grid, key=reached)


def greedy(workflows: Workflows, rewards: RewardConfig) -> Actions:
    """In order, the worker of the greatest expected reward of the whole; no optimizer looks ahead or back."""

    def chooser(flows: Workflows, actions: Actions, step: int, allowed: Mask) -> Array:
        return expected_worth(rewards, flows, actions, step, allowed)

    return assign(workflows, chooser)


def settled(workflows: Workflows, rewards: RewardConfig) -> Actions:
    """Greedy, then sub-task by sub-task until it settles: nearly the greatest expected reward of the whole.

    Unlike greedy it looks back: an early choice changes once it is known who does the rest.
    """
    return _settled(workflows, workflows, workflows.expected, rewards)


def oracle(workflows: Workflows, rewards: RewardConfig) -> Actions:
    """Nearly the best with the outcomes known: the same, on the truth.

    A bound for the eye, from below: better assignments may exist.
    """
    # Of those that succeed the fastest, so that what is assumed of later sub-tasks is not slow.
    known = workflows.actual._replace(success=workflows.actual.success - 1e-9 * workflows.actual.latency_ms)
    return _settled(workflows, replace(workflows, expected=known), workflows.actual, rewards)


def _settled(workflows: Workflows, known: Workflows, outcomes: Outcomes, rewards: RewardConfig) -> Actions:
    """Settle from several beginnings, made of what is known, and keep the best for the outcomes."""
    found = [greedy(known, rewards), supervised_argmax(known, ArgmaxWeights(0.0, 1e-9))]
    fastest = np.where(workflows.allowed, outcomes.latency_ms, np.inf).argmin(-1)
    if not np.isfinite(workflows.budget_usd).any():
        found.append(fastest)
    best = [_settle(workflows, outcomes, rewards, actions) for actions in found]
    values = np.stack([weigh(rewards, workflows.totals(outcomes, actions)) for actions in best])
    return np.asarray(np.stack(best)[values.argmax(0), np.arange(len(workflows))])


def _settle(workflows: Workflows, outcomes: Outcomes, rewards: RewardConfig, actions: Actions) -> Actions:
    """Give each sub-task in turn the worker that is best for the whole, within the budget."""
    actions = actions.copy()
    rows = np.arange(len(workflows))
    price = np.where(workflows.present[..., None], workflows.expected.cost_usd, 0.0)
    for _ in range(_SWEEPS):
        for node in range(workflows.present.shape[1]):
            spent = np.take_along_axis(price, actions[..., None], -1)[..., 0]
            others = spent.sum(1) - spent[:, node]
            fits = others[:, None] + price[:, node] <= workflows.budget_usd[:, None] * (1 + 1e-9)
            open_to = workflows.allowed[:, node] & fits
            open_to[rows, actions[:, node]] = True
            worth = weigh(rewards, workflows.swapped(outcomes, actions, node))
            actions[:, node] = np.where(
                workflows.present[:, node], np.where(open_to, worth, -np.inf).argmax(1), actions[:, node]
            )
    return actions
