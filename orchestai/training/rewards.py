"""The reward of a workflow, decision by decision, and whether its weights let success count at all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from orchestai.config import RewardConfig
from orchestai.training.workflows import Actions, Array, Totals, Workflows

_DROWNED = 1.0


class RewardScale(NamedTuple):
    """How far each term of the reward moves with the choice of a worker.

    Attributes:
        success: Mean spread (standard deviation over the workers of one sub-task) of the success terms.
        cost: The same of the cost term.
        latency: The same of the latency term.
        drowned_by: `cost` or `latency` where that term moves more than success does; else None.
    """

    success: float
    cost: float
    latency: float
    drowned_by: str | None

    def warning(self) -> str | None:
        """Say what is wrong with the weights and what to do; None where success counts most."""
        if self.drowned_by is None:
            return None
        other = self.latency if self.drowned_by == "latency" else self.cost
        return (
            f"With these reward weights {self.drowned_by} drowns success: between the workers of a sub-task it moves "
            f"the reward by {other:.3g}, success by {self.success:.3g}. A policy will learn to be "
            f"{'fast' if self.drowned_by == 'latency' else 'cheap'}, not right. Use rewards/balanced.yml, or smaller "
            f"weights."
        )


def weigh(weights: RewardConfig, totals: Totals) -> Array:
    """Return the reward of whole workflows: the sum of weight times measured value."""
    return np.asarray(
        weights.success * totals.success
        + weights.cost * totals.cost_usd
        + weights.latency_ms * totals.latency_ms
        + weights.successful_tasks * totals.successful_tasks
    )


def step_rewards(weights: RewardConfig, workflows: Workflows, actions: Actions) -> Array:
    """Return [N, S] the reward of each decision; each row adds up to the reward of its workflow.

    A decision pays its dollars, what it adds to the critical path of those before it, and earns its sub-task; the
    success of the whole comes with the last one.
    """
    chosen = workflows.actual.of(actions)
    present = workflows.present
    finish = workflows.finish_ms(chosen.latency_ms)
    until = np.maximum.accumulate(finish, axis=1)  # (N, S)
    added = np.diff(until, axis=1, prepend=0.0)
    rewards = weights.cost * chosen.cost_usd + weights.latency_ms * added + weights.successful_tasks * chosen.success
    rewards = np.where(present, rewards, 0.0)
    last = present.sum(1) - 1
    rewards[np.arange(len(rewards)), last] += weights.success * workflows.totals(workflows.actual, actions).success
    return np.asarray(rewards)


def reward_scale(weights: RewardConfig, workflows: Workflows) -> RewardScale:
    """Measure how far each term moves with the choice of a worker, sub-task by sub-task.

    Success counts as that of a workflow whose other sub-tasks are well done: the most that a choice can be worth.
    """
    used = workflows.allowed & workflows.present[..., None]

    def spread(values: Array) -> float:
        shown = np.where(used, values, np.nan)[workflows.present]
        return float(np.nanstd(shown, axis=-1).mean())

    actual = workflows.actual
    success = spread((weights.success + weights.successful_tasks) * actual.success)
    cost, latency = spread(weights.cost * actual.cost_usd), spread(weights.latency_ms * actual.latency_ms)
    worst = max((latency, "latency"), (cost, "cost"))
    return RewardScale(success, cost, latency, worst[1] if worst[0] > _DROWNED * success else None)
