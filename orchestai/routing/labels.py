"""A search over partial plans, all of one length side by side, that knows when it has seen all that matter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai.routing.choices import Goal, PlanLimits, PlanOptions
from orchestai.routing.program import CERTAIN, SLACK, Program

Array = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]


class Labels:
    """Partial plans of one problem.

    Args:
        options: The plan.
        limits: What it must keep to.
        goal: What is optimised.
        program: The choices that are not dominated, and the objective.
    """

    def __init__(self, options: PlanOptions, limits: PlanLimits, goal: Goal, program: Program) -> None:
        self._parents = [list(parents) for parents in options.dependencies]
        self._places = [np.flatnonzero(program.nodes == node) for node in range(len(self._parents))]
        self._workers = [program.workers[own] for own in self._places]
        self._latency = [options.latency_ms[node, own] for node, own in enumerate(self._workers)]
        self._cost = [options.cost_usd[node, own] for node, own in enumerate(self._workers)]
        self._log = [
            np.log(np.clip(options.success[node, own], CERTAIN, 1.0)) for node, own in enumerate(self._workers)
        ]
        self._price = [program.objective[own] for own in self._places]
        self._goal = goal
        self._tick = program.tick
        self._most_usd = np.inf if limits.budget_usd is None else limits.budget_usd * (1 + SLACK)
        self._most_ms = np.inf if limits.max_latency_ms is None else limits.max_latency_ms * (1 + SLACK)
        self._least_log = -np.inf
        if limits.min_success is not None:
            self._least_log = float(np.log(max(limits.min_success, 1e-300))) - SLACK
        # The least that the sub-tasks after each will cost, fail and take.
        self._usd_left = _after([float(own.min()) for own in self._cost])
        self._log_left = _after([float(own.max()) for own in self._log])
        self._tail = np.zeros(len(self._parents))
        for node in reversed(range(len(self._parents))):
            for parent in self._parents[node]:
                self._tail[parent] = max(self._tail[parent], self._latency[node].min() + self._tail[node])

    def search(self, reduced: Array, *, width: int, reach: float = np.inf) -> tuple[tuple[int, ...] | None, bool]:
        """Extend partial plans sub-task by sub-task.

        Args:
            reduced: [C] what each choice costs at least beyond the optimum of the relaxation.
            width: Partial plans that are kept; those of the least sum of `reduced`.
            reach: A sum of more than this cannot be better than what is known.

        Returns:
            The worker of each sub-task of the best plan found, and whether no plan within `reach` was left out.
        """
        count = len(self._parents)
        ends, chosen = np.zeros((1, count)), np.zeros((1, count), dtype=np.int64)
        usd, log, beyond = np.zeros(1), np.zeros(1), np.zeros(1)
        complete = True
        for node in range(count):
            parents = self._parents[node]
            start = ends[:, parents].max(1) if parents else np.zeros(len(ends))
            end = start[:, None] + self._latency[node]  # (L, C)
            cost = usd[:, None] + self._cost[node]
            sure = log[:, None] + self._log[node]
            sums = beyond[:, None] + reduced[self._places[node]]
            fits = (end + self._tail[node] <= self._most_ms) & (cost + self._usd_left[node] <= self._most_usd)
            fits &= (sure + self._log_left[node] >= self._least_log) & (sums <= reach)
            rows, columns = np.nonzero(fits)
            if not len(rows):
                return None, complete
            if len(rows) > width:
                kept = np.argpartition(sums[rows, columns], width)[:width]
                rows, columns, complete = rows[kept], columns[kept], False
            ends, chosen = ends[rows], chosen[rows]
            ends[:, node], chosen[:, node] = end[rows, columns], columns
            usd, log, beyond = cost[rows, columns], sure[rows, columns], sums[rows, columns]
        worth = {"success": -log, "cost": usd, "latency": ends.max(1)}[self._goal]
        best = chosen[int(worth.argmin())]
        return tuple(int(self._workers[node][place]) for node, place in enumerate(best)), complete

    def worth(self, workers: tuple[int, ...]) -> float:
        """Return the objective of a whole plan, in terms of the program."""
        places = [int(np.flatnonzero(self._workers[node] == worker)[0]) for node, worker in enumerate(workers)]
        if self._goal == "latency":
            ends = np.zeros(len(places))
            for node, place in enumerate(places):
                ends[node] = max((ends[parent] for parent in self._parents[node]), default=0.0)
                ends[node] += self._latency[node][place]
            return float(ends.max()) / self._tick
        return float(sum(self._price[node][place] for node, place in enumerate(places)))

    def better(self, one: tuple[int, ...], other: tuple[int, ...] | None) -> tuple[int, ...]:
        """Return the better of two plans."""
        return one if other is None or self.worth(one) <= self.worth(other) else other


def _after(values: list[float]) -> Array:
    """Sum of all that follow each."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)[1:]
