"""The live environment: decisions become plans that are run, with real money up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from orchestai.config import RewardConfig
from orchestai.errors import BudgetExceededError
from orchestai.training.environment import Ended, Observation, TableEnvironment
from orchestai.training.rewards import weigh
from orchestai.training.workflows import Actions, Totals, Workflows

_TENTH_OF_A_MICRODOLLAR = 1e-7


class LiveOutcome(NamedTuple):
    """What came of one execution."""

    success: bool
    cost_usd: float
    latency_ms: float
    successful_tasks: int


class Purse:
    """Dollars that may be spent; several environments may share one.

    Args:
        limit_usd: All that there is.
    """

    def __init__(self, limit_usd: float) -> None:
        self.left_usd = limit_usd

    def reserve(self, worst_usd: float) -> None:
        """Set the worst case of an execution aside before it starts.

        Raises:
            BudgetExceededError: Not so much is left; nothing is taken.
        """
        if worst_usd > self.left_usd + _TENTH_OF_A_MICRODOLLAR:
            raise BudgetExceededError(worst_usd, self.left_usd)
        self.left_usd -= worst_usd

    def settle(self, worst_usd: float, spent_usd: float) -> None:
        """Give back what an execution did not need; what it took beyond the worst case is taken, too."""
        self.left_usd += worst_usd - spent_usd


Runner = Callable[[int, Sequence[int]], LiveOutcome]
"""Runs workflow number so and so with these workers, one a sub-task."""


class LiveEnvironment:
    """Runs each workflow through the engine once all its sub-tasks have workers.

    Args:
        workflows: What there is to do; `expected.cost_usd` is the worst case of each call, which is reserved.
        weights: Of the reward.
        run: Executes a workflow.
        purse: What may be spent.
    """

    def __init__(self, workflows: Workflows, weights: RewardConfig, run: Runner, purse: Purse) -> None:
        self._table = TableEnvironment(workflows, weights)
        self._all = workflows
        self._weights = weights
        self._run = run
        self._purse = purse
        self._rows: Actions = np.zeros(0, dtype=np.int64)
        self._chosen: list[Actions] = []

    @property
    def size(self) -> int:
        """Number of workflows to draw from."""
        return len(self._all)

    @property
    def steps(self) -> int:
        """The most decisions of a workflow."""
        return self._table.steps

    def reset(self, rows: Actions, seed: int) -> None:
        """Begin an episode of each of these workflows."""
        self._rows = rows
        self._chosen = []
        self._table.reset(rows, seed)

    def observe(self) -> Observation:
        """Return what is known before the next decision."""
        return self._table.observe()

    def act(self, actions: Actions) -> None:
        """Take the next decision of each workflow."""
        self._chosen.append(np.array(actions))
        self._table.act(actions)

    def end(self, *, counterfactual: bool = False) -> Ended:
        """Run the workflows one after the other.

        What another worker would have done is never known here. The whole reward stands at the last decision.

        Raises:
            BudgetExceededError: The next execution could cost more than is left; those before it are lost to learning.
        """
        present = self._all.present[self._rows]
        actions = np.stack(self._chosen, axis=1)
        worst = np.where(present, self._all.expected.take(self._rows).of(actions).cost_usd, 0.0).sum(1)
        outcomes = []
        for place, row in enumerate(self._rows):
            self._purse.reserve(float(worst[place]))
            workers = actions[place][present[place]].tolist()
            outcome = self._run(int(row), workers)
            self._purse.settle(float(worst[place]), outcome.cost_usd)
            outcomes.append(outcome)
        columns = np.array(outcomes, dtype=np.float64).T
        totals = Totals(*columns)
        rewards = np.zeros(present.shape)
        rewards[np.arange(len(present)), present.sum(1) - 1] = weigh(self._weights, totals)
        return Ended(rewards=rewards, totals=totals, swapped=None)
