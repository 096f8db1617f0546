"""Workflows of plans with simulated workers: what their profiles promise, and the fates drawn from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import estimate
from orchestai.config import RoutingConfig
from orchestai.contracts import PlanExample, TaskCatalog, WorkerCatalog
from orchestai.errors import NoWorkerError
from orchestai.routing.assign import candidates
from orchestai.training.workflows import Array, Outcomes, Workflows

_UNKNOWN = 0.5
"""Success that is expected of a worker of whom nothing is known."""


class SimulatedOutcomes:
    """Draws what simulated workers make of workflows: success by quality and faults, log-normal times.

    Args:
        workers: The catalog, whose columns the workflows have.
    """

    def __init__(self, workers: WorkerCatalog) -> None:
        profiles = [worker.simulation for worker in workers.profiles()]
        self._sigma: Array = np.array([0.0 if profile is None else profile.latency_sigma for profile in profiles])

    def __call__(self, workflows: Workflows, rng: np.random.Generator) -> Outcomes:
        """Return one fate of the workflows."""
        expected = workflows.expected
        luck = rng.random(expected.success.shape)
        noise = np.exp(self._sigma * rng.standard_normal(expected.latency_ms.shape))
        return Outcomes(
            success=(luck < expected.success).astype(np.float64),
            cost_usd=expected.cost_usd,
            latency_ms=expected.latency_ms * noise,
        )


def simulated_workflows(
    examples: Sequence[PlanExample],
    states: Sequence[npt.NDArray[np.float32]],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
) -> Workflows:
    """Make workflows of plans, done by simulated workers; without any outcome yet.

    Real workers take no part: nobody knows how good they are. A plan with a sub-task that no simulated worker can do is
    left out.

    Args:
        examples: The plans.
        states: What the policy is told of each one's sub-tasks: [S, D].
        tasks: Their task types.
        workers: All workers; the real ones are columns that nobody may choose.
    """
    routing = RoutingConfig(simulated="allow")
    return workflows_of(
        examples, states, tasks=tasks, workers=workers, playing=workers.only_simulated(), routing=routing
    )


def workflows_of(
    examples: Sequence[PlanExample],
    states: Sequence[npt.NDArray[np.float32]],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    playing: WorkerCatalog,
    routing: RoutingConfig,
) -> Workflows:
    """Make workflows of plans, done by some of the workers; without any outcome yet.

    What is expected of a real worker is that it succeeds as often as not, in its typical time; costs are those of an
    answer as long as allowed.

    Args:
        examples: The plans; one with a sub-task that nobody can do is left out.
        states: What the policy is told of each one's sub-tasks: [S, D].
        tasks: Their task types.
        workers: All workers, the columns.
        playing: Those that may be chosen.
        routing: Whether simulated ones may, beside real ones.
    """
    kept = [place for place, example in enumerate(examples) if able_to_do(example, tasks, playing, routing)]
    longest = max((len(examples[place].task_types) for place in kept), default=1)
    shape = (len(kept), longest, len(workers))
    allowed = np.zeros(shape, dtype=np.bool_)
    success, cost, latency = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    present = np.zeros(shape[:2], dtype=np.bool_)
    parents = np.zeros((len(kept), longest, longest), dtype=np.bool_)
    width = states[0].shape[1] if len(states) else 0
    table = np.zeros((len(kept), longest, width), dtype=np.float32)
    for row, place in enumerate(kept):
        example = examples[place]
        table[row, : len(example.task_types)] = states[place]
        for node, name in enumerate(example.task_types):
            present[row, node] = True
            parents[row, node, list(example.dependencies[node])] = True
            for worker in candidates(tasks[name], playing, routing):
                column = workers.index(worker.name)
                allowed[row, node, column] = True
                estimated = estimate(worker, tasks[name], len(example.instruction))
                success[row, node, column] = _UNKNOWN
                cost[row, node, column], latency[row, node, column] = estimated
                if worker.simulation is not None:
                    faults = worker.simulation.error_rate + worker.simulation.rate_limit_rate
                    success[row, node, column] = worker.simulation.quality_of(name) * max(0.0, 1 - faults)
                    latency[row, node, column] = worker.simulation.latency_ms
    expected = Outcomes(success, cost, latency)
    return Workflows(
        present=present,
        parents=parents,
        allowed=allowed,
        budget_usd=np.full(len(kept), np.inf),
        states=table,
        expected=expected,
        actual=expected,
        groups=np.arange(len(kept)),
    )


def able_to_do(example: PlanExample, tasks: TaskCatalog, workers: WorkerCatalog, routing: RoutingConfig) -> bool:
    """Say whether there is somebody for every sub-task of a plan."""
    try:
        for name in example.task_types:
            candidates(tasks[name], workers, routing)
    except NoWorkerError:
        return False
    return True
