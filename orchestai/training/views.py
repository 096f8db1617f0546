"""What a policy is told where the outcomes can be foreseen: the situation, and what each choice would be worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai.config import RewardConfig
from orchestai.training.rewards import weigh
from orchestai.training.workflows import Actions, Array, Mask, Workflows

SITUATION = 8


def situation_size(workers: int) -> int:
    """Width of what `ForesightView` adds to the states."""
    return SITUATION + 3 * workers


class ForesightView:
    """Tells the policy what is expected of the workers here, what was decided before, and what is still to come.

    The prior is the expected reward of the workflow with each worker in turn, what comes later being done as the
    workflows are `planned`, or by the worker that is expected to succeed most often. A policy that adds nothing to it
    carries out that plan, or is greedy in this sense.

    Args:
        weights: Of the reward.
        sharpness: Logits a unit of reward.
    """

    def __init__(self, weights: RewardConfig, *, sharpness: float) -> None:
        self._weights = weights
        self._sharpness = sharpness

    def __call__(
        self, workflows: Workflows, actions: Actions, step: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return states [E, D + situation_size(W)] and prior [E, W]."""
        expected, allowed = workflows.expected, workflows.allowed[:, step]
        foreseen = assume(workflows, actions, step, workflows.planned)
        totals = workflows.swapped(expected, foreseen, step)
        worth = weigh(self._weights, totals)  # (E, W)
        worth = worth - np.where(allowed, worth, -np.inf).max(1, keepdims=True, initial=-1e9)
        prior = np.where(allowed, self._sharpness * worth, 0.0)
        chosen = expected.of(foreseen)
        odds = np.where(workflows.present, chosen.success, 1.0)
        count = workflows.present.sum(1)
        finish = workflows.finish_ms(chosen.latency_ms)
        span = np.maximum(finish.max(1), 1.0)
        single = totals.success / np.maximum(expected.success[:, step], 1e-9)
        spent = np.where(workflows.present[:, :step], chosen.cost_usd[:, :step], 0.0).sum(1)
        tight = np.where(np.isfinite(workflows.budget_usd), spent / np.maximum(workflows.budget_usd, 1e-12), 0.0)
        situation = np.stack(
            [
                odds[:, :step].prod(1),
                odds[:, step + 1 :].prod(1),
                single.max(1),
                np.full(len(workflows), step / 10),
                (count - step) / 10,
                finish[:, step] / span,
                tight,
                np.isfinite(workflows.budget_usd).astype(np.float64),
            ],
            axis=1,
        )
        used = workflows.present[:, step, None]
        parts = (
            workflows.states[:, step],
            situation,
            np.where(allowed, expected.success[:, step], 0.0),
            np.where(allowed, np.clip(worth, -3.0, 0.0), -3.0),
            np.where(allowed, np.clip(totals.latency_ms / span[:, None] - 1.0, -1.0, 3.0), 0.0),
        )
        state = np.concatenate(parts, axis=1).astype(np.float32)
        return np.where(used, state, 0.0).astype(np.float32), np.where(used, prior, 0.0).astype(np.float32)


def assume(workflows: Workflows, actions: Actions, step: int, planned: Actions | None = None) -> Actions:
    """Return [E, S]: what is decided before `step`, and from there on the plan, or who is likeliest to succeed."""
    if planned is None:
        planned = np.where(workflows.allowed, workflows.expected.success, -1.0).argmax(-1)
    foreseen = np.array(actions)
    foreseen[:, step:] = planned[:, step:]
    return foreseen


def expected_worth(weights: RewardConfig, workflows: Workflows, actions: Actions, step: int, allowed: Mask) -> Array:
    """Return [E, W] expected reward of the workflow with each worker at this step; -inf where not allowed."""
    worth = weigh(weights, workflows.swapped(workflows.expected, assume(workflows, actions, step), step))
    return np.asarray(np.where(allowed, worth, -np.inf))
