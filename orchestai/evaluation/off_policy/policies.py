"""Policies to ask a log about: one worker wherever it may be chosen, the cheapest, all alike, the learned router."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import estimate
from orchestai.config import RoutingConfig
from orchestai.contracts import TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.evaluation.off_policy.rows import LoggedChoice, LoggedExecution, TargetPolicy
from orchestai.routing.assign import candidates
from orchestai.routing.router import Router

Embed = Callable[[str], npt.NDArray[np.float64]]


class Policies:
    """Makes policies that choose as planning would: among the candidates of each sub-task.

    A sub-task of an execution on simulated workers has the simulated workers as candidates, as the collection that
    ran it had; every other one has those that the routing allows.

    Args:
        tasks: The task types.
        workers: The workers.
        routing: Whether simulated workers may take part.
    """

    def __init__(self, tasks: TaskCatalog, workers: WorkerCatalog, routing: RoutingConfig) -> None:
        self._tasks = tasks

        @lru_cache
        def able(task_type: str, simulated: bool) -> tuple[WorkerProfile, ...]:
            if simulated:
                played = WorkerCatalog(workers=tuple(each for each in workers.workers if each.simulated))
                return candidates(tasks[task_type], played, RoutingConfig(simulated="allow"))
            return candidates(tasks[task_type], workers, routing)

        self._able = able

    def knows(self, row: LoggedExecution) -> bool:
        """Whether the catalog still has the task types of an execution."""
        return all(choice.task_type in self._tasks.names for choice in row.choices)

    def can_choose(self, worker: str, rows: Iterable[LoggedExecution]) -> bool:
        """Whether a worker is a candidate of any sub-task."""
        asked = {(choice.task_type, row.simulated) for row in rows for choice in row.choices}
        return any(worker == each.name for kind, simulated in asked for each in self._able(kind, simulated))

    def always(self, worker: str) -> TargetPolicy:
        """Return the policy that takes `worker` wherever it is a candidate, and the cheapest elsewhere."""

        def choose(_choice: LoggedChoice, kind: TaskType, able: Sequence[WorkerProfile], chars: int) -> str:
            return worker if worker in [each.name for each in able] else _cheapest(kind, able, chars)

        return self._greedy(choose)

    def cheapest(self) -> TargetPolicy:
        """Return the rule that plans go by without a learned policy."""
        return self._greedy(lambda _choice, kind, able, chars: _cheapest(kind, able, chars))

    def uniform(self) -> TargetPolicy:
        """Return the policy that takes all candidates alike."""

        def policy(row: LoggedExecution) -> Sequence[Mapping[str, float]]:
            sides = [self._able(choice.task_type, row.simulated) for choice in row.choices]
            return [{each.name: 1 / len(able) for each in able} for able in sides]

        return policy

    def routed(self, router: Router, embed: Embed) -> TargetPolicy:
        """Return the learned router, asked about each sub-task's description.

        Args:
            router: Chooses.
            embed: [H] unit vector of a text, by the router's encoder.
        """

        def policy(row: LoggedExecution) -> Sequence[Mapping[str, float]]:
            found = []
            for choice in row.choices:
                text = choice.description or row.text
                able = self._able(choice.task_type, row.simulated)
                decision = router.route(text, self._tasks[choice.task_type], able, embedding=embed(text))
                found.append({decision.worker: 1.0})
            return found

        return policy

    def _greedy(self, choose: Callable[[LoggedChoice, TaskType, Sequence[WorkerProfile], int], str]) -> TargetPolicy:
        def policy(row: LoggedExecution) -> Sequence[Mapping[str, float]]:
            return [
                {
                    choose(
                        choice,
                        self._tasks[choice.task_type],
                        self._able(choice.task_type, row.simulated),
                        len(row.text),
                    ): 1.0
                }
                for choice in row.choices
            ]

        return policy


def _cheapest(kind: TaskType, able: Sequence[WorkerProfile], chars: int) -> str:
    def price(each: WorkerProfile) -> tuple[float, float]:
        expected = estimate(each, kind, chars)
        return expected.cost_usd, expected.latency_ms

    return min(able, key=price).name
