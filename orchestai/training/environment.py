"""Environments of Phase 2: one decision a sub-task, many workflows side by side, outcomes out of tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from orchestai.config import RewardConfig
from orchestai.errors import InputError
from orchestai.training.rewards import step_rewards, weigh
from orchestai.training.workflows import Actions, Array, Mask, Outcomes, Totals, Workflows

_CENT_SHARE = 1e-9


class Observation(NamedTuple):
    """What a policy sees of E workflows at one decision."""

    state: npt.NDArray[np.float32]  # (E, D)
    allowed: Mask  # (E, W)
    prior: npt.NDArray[np.float32]  # (E, W) added to the policy's logits; 0 where nothing is known
    active: Mask  # (E,) false where the workflow has no further sub-task


class Ended(NamedTuple):
    """What became of E workflows."""

    rewards: Array  # (E, S) of each decision
    totals: Totals
    swapped: Array | None  # (E, S, W) reward, had another worker done one sub-task; None where nobody can know


class WorkflowEnvironment(Protocol):
    """Where a policy acts. `reset`, then `observe` and `act` once a sub-task, then `end`."""

    @property
    def size(self) -> int:
        """Number of workflows to draw from."""

    @property
    def steps(self) -> int:
        """The most decisions of a workflow."""

    def reset(self, rows: Actions, seed: int) -> None:
        """Begin an episode of each of these workflows; chance, if there is any, comes from the seed."""

    def observe(self) -> Observation:
        """Return what is known before the next decision."""

    def act(self, actions: Actions) -> None:
        """Give the next sub-task of each workflow to these workers [E]; where none is left, ignored."""

    def end(self, *, counterfactual: bool = False) -> Ended:
        """Return what became of the episodes, all decisions made."""


class View(Protocol):
    """Turns workflows and the decisions so far into what the policy is told."""

    def __call__(
        self, workflows: Workflows, actions: Actions, step: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return states [E, D] and prior [E, W] at this step; actions from `step` on are not made yet."""


def plain_view(
    workflows: Workflows, actions: Actions, step: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Tell the states as they stand in the table, and no prior."""
    return workflows.states[:, step], np.zeros((len(workflows), workflows.workers), dtype=np.float32)


class TableEnvironment:
    """Replays outcome tables on workflows, or draws outcomes anew each time.

    Args:
        workflows: What there is to do.
        weights: Of the reward.
        draw: Makes the outcomes of an episode, for simulated workers; None replays the recorded ones.
        view: What the policy is told.
        masked: Whether workers that may not be used are hidden; otherwise such a choice is a failed sub-task.
    """

    def __init__(
        self,
        workflows: Workflows,
        weights: RewardConfig,
        *,
        draw: Callable[[Workflows, np.random.Generator], Outcomes] | None = None,
        view: View = plain_view,
        masked: bool = True,
    ) -> None:
        self._all = workflows
        self._weights = weights
        self._draw = draw
        self._view = view
        self._masked = masked
        self._workflows = workflows
        self._actions: Actions = np.zeros((0, 0), dtype=np.int64)
        self._step = 0

    @property
    def size(self) -> int:
        """Number of workflows to draw from."""
        return len(self._all)

    @property
    def steps(self) -> int:
        """The most decisions of a workflow."""
        return int(self._all.present.shape[1])

    def reset(self, rows: Actions, seed: int) -> None:
        """Begin an episode of each of these workflows."""
        chosen = self._all.take(rows)
        if self._draw is not None:
            chosen = chosen.with_actual(self._draw(chosen, np.random.default_rng(seed)))
        if not self._masked:
            actual = chosen.actual
            chosen = chosen.with_actual(actual._replace(success=np.where(chosen.allowed, actual.success, 0.0)))
        self._workflows = chosen
        self._actions = chosen.allowed.argmax(-1).astype(np.int64)
        self._step = 0

    def observe(self) -> Observation:
        """Return what is known before the next decision."""
        active = self._workflows.present[:, self._step]
        allowed = affordable(self._workflows, self._actions, self._step)
        state, prior = self._view(self._workflows, self._actions, self._step)
        return Observation(state, allowed if self._masked else np.ones_like(allowed), prior, active)

    def act(self, actions: Actions) -> None:
        """Take the next decision of each workflow."""
        active = self._workflows.present[:, self._step]
        self._actions[:, self._step] = np.where(active, actions, self._actions[:, self._step])
        self._step += 1

    def end(self, *, counterfactual: bool = False) -> Ended:
        """Return what became of the episodes.

        Raises:
            InputError: Not all decisions are made.
        """
        if self._step < self.steps:
            raise InputError(f"{self.steps - self._step} decisions are missing.", remedy="Call `act` once a sub-task.")
        workflows, actions = self._workflows, self._actions
        swapped = None
        if counterfactual:
            swapped = np.stack(
                [
                    weigh(self._weights, workflows.swapped(workflows.actual, actions, node))
                    for node in range(self.steps)
                ],
                axis=1,
            )
        return Ended(
            rewards=step_rewards(self._weights, workflows, actions),
            totals=workflows.totals(workflows.actual, actions),
            swapped=swapped,
        )


def affordable(workflows: Workflows, actions: Actions, step: int) -> Mask:
    """Return [E, W] who may do the sub-task: allowed, and enough is left for the cheapest of the rest.

    Where the budget is too small for anybody, the cheapest remains.
    """
    allowed = workflows.allowed[:, step]
    price = np.where(allowed, workflows.expected.cost_usd[:, step], np.inf)
    cheapest = price.min(1, keepdims=True)
    spent = np.where(workflows.present[:, :step], workflows.expected.of(actions).cost_usd[:, :step], 0.0).sum(1)
    later = np.where(workflows.allowed[:, step + 1 :], workflows.expected.cost_usd[:, step + 1 :], np.inf).min(-1)
    reserved = np.where(workflows.present[:, step + 1 :], later, 0.0).sum(1)
    left = (workflows.budget_usd - spent - reserved)[:, None]
    active = workflows.present[:, step, None]
    fits = (price <= np.maximum(left, cheapest) * (1 + _CENT_SHARE)) & allowed
    return np.asarray(np.where(active, fits, True))
