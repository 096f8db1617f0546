"""Workflows as padded tables, and what an assignment comes to: success, dollars, critical path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.errors import DataError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Actions = npt.NDArray[np.int64]

_NEVER = -1e15
"""Milliseconds that take a sub-task off every path."""


class Outcomes(NamedTuple):
    """What each worker makes of each sub-task; `N` workflows, `S` sub-tasks, `W` workers."""

    success: Array  # (N, S, W) 1 done well, 0 not; or the probability
    cost_usd: Array  # (N, S, W)
    latency_ms: Array  # (N, S, W)

    def take(self, rows: Actions) -> Outcomes:
        """Return some of the workflows."""
        return Outcomes(*(part[rows] for part in self))

    def of(self, actions: Actions) -> Outcomes:
        """Return what was chosen: each [N, S]."""
        return Outcomes(*(np.take_along_axis(part, actions[..., None], -1)[..., 0] for part in self))


class Totals(NamedTuple):
    """What a workflow came to; leading shape [N], or [N, W] for each worker of one sub-task."""

    success: Array  # all sub-tasks done well
    cost_usd: Array
    latency_ms: Array  # critical path
    successful_tasks: Array


@dataclass(frozen=True)
class Workflows:
    """N workflows, padded to S sub-tasks; parents stand before their children.

    Attributes:
        present: [N, S] false where padded.
        parents: [N, S, S] `parents[n, i, j]`: sub-task i waits for j.
        allowed: [N, S, W] who may do what: modality, availability.
        budget_usd: [N] most dollars; infinite without a budget.
        states: [N, S, D] what a policy is told of each sub-task before anything is decided.
        expected: What is expected of each worker; known before the decision.
        actual: What becomes of it; known to the environment only.
        groups: [N] number of the group of held-out questions that a workflow is made of, for intervals.
        planned: [N, S] a whole assignment, made of what is expected before anything is decided; None without one.
    """

    present: Mask
    parents: Mask
    allowed: Mask
    budget_usd: Array
    states: npt.NDArray[np.float32]
    expected: Outcomes
    actual: Outcomes
    groups: Actions
    planned: Actions | None = None

    def __post_init__(self) -> None:
        if not self.allowed[self.present].any(-1).all():
            raise DataError(
                "A sub-task of a workflow has no worker that may do it.",
                remedy="Leave the workflow out, or allow more workers.",
            )

    def __len__(self) -> int:
        return len(self.present)

    @property
    def workers(self) -> int:
        """Number of workers W."""
        return int(self.allowed.shape[-1])

    def take(self, rows: Actions) -> Workflows:
        """Return some of the workflows, repeated where rows are."""
        return Workflows(
            present=self.present[rows],
            parents=self.parents[rows],
            allowed=self.allowed[rows],
            budget_usd=self.budget_usd[rows],
            states=self.states[rows],
            expected=self.expected.take(rows),
            actual=self.actual.take(rows),
            groups=self.groups[rows],
            planned=None if self.planned is None else self.planned[rows],
        )

    def with_actual(self, actual: Outcomes) -> Workflows:
        """Return the same workflows, meeting another fate."""
        return replace(self, actual=actual)

    def totals(self, outcomes: Outcomes, actions: Actions) -> Totals:
        """Return what the assignments [N, S] come to."""
        chosen = outcomes.of(actions)
        return Totals(
            success=np.where(self.present, chosen.success, 1.0).prod(1),
            cost_usd=np.where(self.present, chosen.cost_usd, 0.0).sum(1),
            latency_ms=self.finish_ms(chosen.latency_ms).max(1),
            successful_tasks=np.where(self.present, chosen.success, 0.0).sum(1),
        )

    def finish_ms(self, latency_ms: Array) -> Array:
        """Return [N, S] when each sub-task ends, if each takes `latency_ms` [N, S]; 0 where padded."""
        finish = np.zeros_like(latency_ms)
        for node in range(latency_ms.shape[1]):
            own = latency_ms[:, node] * self.present[:, node]
            finish[:, node] = self._start(finish, node) + own
        return np.where(self.present, finish, 0.0)

    def swapped(self, outcomes: Outcomes, actions: Actions, node: int) -> Totals:
        """Return [N, W] what the workflow comes to if one sub-task is given to each worker in turn."""
        chosen = outcomes.of(actions)
        others = np.where(self.present, chosen.success, 1.0)
        others[:, node] = 1.0
        own = outcomes.success[:, node]
        rest = np.where(self.present, chosen.success, 0.0).sum(1) - chosen.success[:, node]
        money = np.where(self.present, chosen.cost_usd, 0.0).sum(1) - chosen.cost_usd[:, node]
        return Totals(
            success=others.prod(1)[:, None] * own,
            cost_usd=money[:, None] + outcomes.cost_usd[:, node],
            latency_ms=self._swapped_ms(chosen.latency_ms, outcomes.latency_ms[:, node], node),
            successful_tasks=rest[:, None] + own,
        )

    def _swapped_ms(self, latency_ms: Array, own: Array, node: int) -> Array:
        """Critical path [N, W]: the longest path through the sub-task, or the longest one around it."""
        finish = self.finish_ms(latency_ms)
        tail = np.zeros(len(self))
        behind = np.zeros_like(latency_ms)  # longest path from the end of each sub-task
        for later in range(latency_ms.shape[1] - 1, node, -1):
            whole = behind[:, later] + latency_ms[:, later] * self.present[:, later]
            behind = np.maximum(behind, np.where(self.parents[:, later], whole[:, None], 0.0))
        tail = behind[:, node]
        without = latency_ms.copy()
        without[:, node] = _NEVER
        around = np.maximum(self.finish_ms(without).max(1), 0.0)
        through = self._start(finish, node)[:, None] + own + tail[:, None]
        return np.maximum(through, around[:, None])

    def _start(self, finish: Array, node: int) -> Array:
        waits = self.parents[:, node, :node]
        latest = np.where(waits, finish[:, :node], -np.inf).max(1, initial=-np.inf)
        return np.where(np.isneginf(latest), 0.0, latest)
