"""Gives each sub-task of a graph a worker: by learned preferences where there are any, else by a rule."""

from __future__ import annotations

import random
from collections.abc import Sequence

from orchestai.catalog.estimate import estimate
from orchestai.config import RoutingConfig
from orchestai.contracts import (
    Assignment,
    Instruction,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
    WorkflowGraph,
)
from orchestai.errors import NoWorkerError

MOST_ALTERNATIVES = 4
"""Other workers that an assignment names."""


def candidates(task_type: TaskType, workers: WorkerCatalog, routing: RoutingConfig) -> tuple[WorkerProfile, ...]:
    """Return the workers that may do a sub-task of this type, in catalog order.

    With `simulated: fallback` a simulated worker is a candidate only where no real one answers such calls.

    Raises:
        NoWorkerError: There is none.
    """
    able = tuple(
        worker
        for worker in workers.able(task_type.modality)
        if not worker.task_types or task_type.name in worker.task_types
    )
    if routing.simulated != "allow":
        real = tuple(worker for worker in able if not worker.simulated)
        able = real if real or routing.simulated == "never" else able
    if not able:
        raise NoWorkerError(task_type.name, task_type.modality.value)
    return able


def assign_workers(
    graph: WorkflowGraph,
    instruction: Instruction,
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    routing: RoutingConfig,
    probabilities: Sequence[Sequence[float]] | None = None,
    rank: int = 0,
) -> tuple[Assignment, ...]:
    """Choose one worker for each sub-task.

    Args:
        graph: The sub-tasks.
        instruction: Its length goes into the cost estimate.
        tasks: The task types of the graph.
        workers: The workers to choose from.
        routing: Whether simulated workers may take part.
        probabilities: The policy's preference a node and worker, in catalog order; shape [S, W]. Without
            them the cheapest able worker is taken, the faster one among equals.
        rank: Takes the next dearer worker instead, and so on, where there is no policy; the dearest if there
            are not so many.

    Raises:
        NoWorkerError: A sub-task needs a call that no worker answers.
    """
    chars = len(instruction.text) + sum(len(value) for value in instruction.inputs.values())
    assignments = []
    for index, subtask in enumerate(graph.nodes):
        task_type = tasks[subtask.task_type]
        able = candidates(task_type, workers, routing)
        estimates = {worker.name: estimate(worker, task_type, chars) for worker in able}
        by_cost = sorted(able, key=lambda each: (estimates[each.name].cost_usd, estimates[each.name].latency_ms))
        ranked = by_cost
        if len(able) == 1:
            chosen, reason = able[0], f"the only worker for {task_type.modality.value} calls"
        elif probabilities is not None:
            row = probabilities[index]
            ranked = sorted(able, key=lambda worker: -row[workers.index(worker.name)])
            chosen = ranked[0]
            total = sum(row[workers.index(worker.name)] for worker in able)
            share = row[workers.index(chosen.name)] / total if total > 0 else 1 / len(able)
            reason = f"the policy prefers it with {share:.0%} of {len(able)} candidates"
        else:
            place = min(rank, len(able) - 1)
            chosen = by_cost[place]
            reason = f"the cheapest of {len(able)} candidates" if place == 0 else f"number {place + 1} by cost"
        assignments.append(
            Assignment(
                worker=chosen.name,
                alternatives=tuple(worker.name for worker in ranked if worker is not chosen)[:MOST_ALTERNATIVES],
                reason=reason,
                propensity=1.0,  # the choice is deterministic
                estimated_cost_usd=estimates[chosen.name].cost_usd,
                estimated_latency_ms=estimates[chosen.name].latency_ms,
            )
        )
    return tuple(assignments)


def explore_workers(
    graph: WorkflowGraph,
    instruction: Instruction,
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    routing: RoutingConfig,
    rng: random.Random,
) -> tuple[Assignment, ...]:
    """Choose a worker for each sub-task at random, all candidates alike, and note the propensity.

    Such choices show what every worker can do, which the logs of a settled policy never tell.

    Raises:
        NoWorkerError: A sub-task needs a call that no worker answers.
    """
    chars = len(instruction.text) + sum(len(value) for value in instruction.inputs.values())
    assignments = []
    for subtask in graph.nodes:
        task_type = tasks[subtask.task_type]
        able = candidates(task_type, workers, routing)
        chosen = rng.choice(able)
        cost = estimate(chosen, task_type, chars)
        assignments.append(
            Assignment(
                worker=chosen.name,
                # No alternatives: what is wanted here is the outcome of this very worker.
                reason=f"drawn at random from {len(able)} candidates",
                propensity=1 / len(able),
                estimated_cost_usd=cost.cost_usd,
                estimated_latency_ms=cost.latency_ms,
            )
        )
    return tuple(assignments)
