"""Gives each sub-task of a graph a worker: by learned preferences where there are any, else by a rule."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
from orchestai.errors import NoWorkerError, WorkersAwayError

MOST_ALTERNATIVES = 4
"""Other workers that an assignment names."""


class Away(NamedTuple):
    """Why a worker should not be planned for now, and for how long.

    Attributes:
        reason: In words.
        retry_after_s: Seconds until it is tried again.
    """

    reason: str
    retry_after_s: float


NOBODY_AWAY: Mapping[str, Away] = {}


def candidates(
    task_type: TaskType, workers: WorkerCatalog, routing: RoutingConfig, away: Mapping[str, Away] = NOBODY_AWAY
) -> tuple[WorkerProfile, ...]:
    """Return the workers that may do a sub-task of this type, in catalog order.

    With `simulated: fallback` a simulated worker is a candidate only where no real one answers such calls; it does
    not stand in for real ones that are away, because its answers are no answers.

    Args:
        task_type: The kind of sub-task.
        workers: The workers to choose from.
        routing: Whether simulated workers may take part.
        away: Workers that are left alone for now, by name.

    Raises:
        NoWorkerError: There is none.
        WorkersAwayError: All that there are are away.
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
    if not away:
        return able
    present = tuple(worker for worker in able if worker.name not in away)
    if not present:
        reasons = {worker.name: away[worker.name].reason for worker in able}
        raise WorkersAwayError(task_type.name, reasons, retry_after_s=min(away[name].retry_after_s for name in reasons))
    return present


def assign_workers(
    graph: WorkflowGraph,
    instruction: Instruction,
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    routing: RoutingConfig,
    probabilities: Sequence[Sequence[float]] | None = None,
    rank: int = 0,
    away: Mapping[str, Away] = NOBODY_AWAY,
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
        away: Workers that are left alone for now, by name.

    Raises:
        NoWorkerError: A sub-task needs a call that no worker answers.
        WorkersAwayError: All who could do a sub-task are away.
    """
    chars = _chars(instruction)
    assignments = []
    for index, subtask in enumerate(graph.nodes):
        task_type = tasks[subtask.task_type]
        able = candidates(task_type, workers, routing, away)
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


def replace_away(
    graph: WorkflowGraph,
    instruction: Instruction,
    assignments: Sequence[Assignment],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    routing: RoutingConfig,
    away: Mapping[str, Away],
) -> tuple[Assignment, ...]:
    """Put others in the place of workers that are away: the next alternative of the plan, else the cheapest.

    Raises:
        NoWorkerError: A sub-task needs a call that no worker answers.
        WorkersAwayError: All who could do a sub-task are away.
    """
    if not any(each.worker in away for each in assignments):
        return tuple(assignments)
    fresh = assign_workers(graph, instruction, tasks=tasks, workers=workers, routing=routing, away=away)
    chars = _chars(instruction)
    found = []
    for node, before, cheapest in zip(graph.nodes, assignments, fresh, strict=True):
        if before.worker not in away:
            found.append(before)
            continue
        present = (cheapest.worker, *cheapest.alternatives)
        others = tuple(name for name in before.alternatives if name in present)
        name = others[0] if others else cheapest.worker
        estimated = estimate(workers[name], tasks[node.task_type], chars)
        found.append(
            cheapest.model_copy(
                update={
                    "worker": name,
                    "alternatives": tuple(dict.fromkeys(each for each in (*others, *present) if each != name))[
                        :MOST_ALTERNATIVES
                    ],
                    "reason": f"{before.worker} is away: {away[before.worker].reason}",
                    "estimated_cost_usd": estimated.cost_usd,
                    "estimated_latency_ms": estimated.latency_ms,
                }
            )
        )
    return tuple(found)


def _chars(instruction: Instruction) -> int:
    return len(instruction.text) + sum(len(value) for value in instruction.inputs.values())


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
    chars = _chars(instruction)
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
