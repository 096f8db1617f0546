"""Keeps a whole plan to its budget, its success target and its time limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import estimate
from orchestai.config import RoutingConfig
from orchestai.contracts import Assignment, Budget, Instruction, TaskCatalog, WorkerCatalog, WorkflowGraph
from orchestai.errors import InfeasibleError, InputError
from orchestai.routing.assign import MOST_ALTERNATIVES, NOBODY_AWAY, Away, candidates
from orchestai.routing.optimizer import Goal, PlanAssignment, PlanLimits, PlanOptions, optimize, value_of

Array = npt.NDArray[np.float64]

_SLACK = 1e-9


class Fitted(NamedTuple):
    """Workers of a plan.

    Attributes:
        workers: [S] columns, in the order of the graph's nodes.
        changed: Whether the limits took other workers than were preferred.
        value: Cost, success and time of the plan.
    """

    workers: tuple[int, ...]
    changed: bool
    value: PlanAssignment


def plan_limits(budget: Budget) -> PlanLimits:
    """Return what a budget asks of the plan before anything runs."""
    return PlanLimits(
        budget_usd=budget.usd,
        min_success=budget.min_success,
        max_latency_ms=None if budget.max_latency_s is None else budget.max_latency_s * 1000,
    )


def fit_plan(
    graph: WorkflowGraph,
    preferred: Sequence[int],
    limits: PlanLimits,
    *,
    success: Array,
    cost_usd: Array,
    latency_ms: Array,
    names: Sequence[str],
    goal: Goal | None = None,
) -> Fitted:
    """Keep the preferred workers where they keep to the limits, else take the best assignment that does.

    A success target is a wish for the cheapest plan that meets it, so it always asks for the optimum.

    Args:
        graph: The sub-tasks.
        preferred: [S] columns.
        limits: What the plan must keep to.
        success: [S, W].
        cost_usd: [S, W]; infinite where a worker may not do a sub-task.
        latency_ms: [S, W].
        names: The workers, for the refusal.
        goal: What to optimise; see `optimize`.

    Raises:
        InfeasibleError: Nothing keeps to the limits; it names the cheapest plan that keeps to the others.
    """
    order = list(graph.topological_order)
    place = {node: position for position, node in enumerate(order)}
    options = PlanOptions(
        success[order],
        cost_usd[order],
        latency_ms[order],
        tuple(tuple(sorted(place[parent] for parent in graph.dependencies[node])) for node in order),
    )
    value = value_of(options, [preferred[node] for node in order])
    if limits.min_success is None and _keeps(value, limits):
        return Fitted(tuple(preferred), False, value)
    try:
        found = optimize(options, limits, goal=goal)
    except InfeasibleError as error:
        raise InfeasibleError(
            budget_usd=error.budget_usd,
            min_success=error.min_success,
            max_latency_ms=error.max_latency_ms,
            cheapest_usd=error.cheapest_usd,
            best_success=error.best_success,
            fastest_ms=error.fastest_ms,
            cheapest_workers=tuple(error.cheapest_workers[place[node]] for node in range(len(order)))
            if error.cheapest_workers
            else (),
            cheapest_names=tuple(names[error.cheapest_workers[place[node]]] for node in range(len(order)))
            if error.cheapest_workers
            else (),
        ) from error
    workers = tuple(found.workers[place[node]] for node in range(len(order)))
    return Fitted(workers, workers != tuple(preferred), found)


def keep_limits(
    graph: WorkflowGraph,
    instruction: Instruction,
    assignments: Sequence[Assignment],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    routing: RoutingConfig,
    probabilities: Sequence[Sequence[float]] | None = None,
    away: Mapping[str, Away] = NOBODY_AWAY,
) -> tuple[Assignment, ...]:
    """Keep a plan without predictions to budget and time limit, by the estimates of the catalog.

    Args:
        graph: The sub-tasks.
        instruction: Its budget limits the plan.
        assignments: What is preferred.
        tasks: The task types of the graph.
        workers: The workers to choose from.
        routing: Whether simulated workers may take part.
        probabilities: The policy's preference a node and worker, if there is a policy; else the cheapest plan
            is taken where the preferred one breaks a limit.
        away: Workers that are left alone for now, by name.

    Raises:
        InfeasibleError: Nothing keeps to the limits.
        InputError: There is a success target, which nobody can promise.
    """
    limits = plan_limits(instruction.budget)
    if limits == PlanLimits():
        return tuple(assignments)
    if limits.min_success is not None:
        raise InputError(
            f"`min_success` {limits.min_success:g} cannot be promised: no router says how likely workers succeed.",
            remedy="Train one (`orchestai train router`), or leave the success target out.",
        )
    shape = (len(graph), len(workers))
    chars = len(instruction.text) + sum(len(value) for value in instruction.inputs.values())
    success, cost, latency = np.ones(shape), np.full(shape, np.inf), np.zeros(shape)
    for row, node in enumerate(graph.nodes):
        task_type = tasks[node.task_type]
        for worker in candidates(task_type, workers, routing, away):
            column = workers.index(worker.name)
            cost[row, column], latency[row, column] = estimate(worker, task_type, chars)
            if probabilities is not None:
                success[row, column] = min(max(float(np.nan_to_num(probabilities[row][column])), 0.0), 1.0)
    fitted = fit_plan(
        graph,
        [workers.index(each.worker) for each in assignments],
        limits,
        success=success,
        cost_usd=cost,
        latency_ms=latency,
        names=workers.names,
        goal="cost" if probabilities is None else "success",
    )
    kept = []
    for row, (before, column) in enumerate(zip(assignments, fitted.workers, strict=True)):
        name = workers.names[column]
        if name == before.worker:
            kept.append(before)
            continue
        others = [each for each in (before.worker, *before.alternatives) if each != name]
        kept.append(
            before.model_copy(
                update={
                    "worker": name,
                    "alternatives": tuple(others)[:MOST_ALTERNATIVES],
                    "reason": "the best plan within its limits takes it",
                    "estimated_cost_usd": float(cost[row, column]),
                    "estimated_latency_ms": float(latency[row, column]),
                }
            )
        )
    return tuple(kept)


def _keeps(value: PlanAssignment, limits: PlanLimits) -> bool:
    return (limits.budget_usd is None or value.cost_usd <= limits.budget_usd * (1 + _SLACK)) and (
        limits.max_latency_ms is None or value.latency_ms <= limits.max_latency_ms * (1 + _SLACK)
    )
