"""The exact assignment of workers to a whole plan: under a budget, a success target, a time limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.errors import InfeasibleError, InputError

Array = npt.NDArray[np.float64]

_CERTAIN = 1e-6
_GAP = 1e-5
_SLACK = 1e-9
_TIME_LIMIT_S = 10.0


class PlanOptions(NamedTuple):
    """What each worker would bring to each sub-task of one plan.

    Attributes:
        success: [S, W] probability of an accepted answer.
        cost_usd: [S, W] dollars; infinite where a worker may not do the sub-task.
        latency_ms: [S, W] milliseconds.
        dependencies: Parents of each sub-task; parents come before children.
    """

    success: Array
    cost_usd: Array
    latency_ms: Array
    dependencies: tuple[tuple[int, ...], ...]


class PlanLimits(NamedTuple):
    """What a plan must keep to; None does not limit.

    Attributes:
        budget_usd: Most dollars for the whole plan.
        min_success: Least probability that all sub-tasks succeed.
        max_latency_ms: Most time along the critical path.
    """

    budget_usd: float | None = None
    min_success: float | None = None
    max_latency_ms: float | None = None


class PlanAssignment(NamedTuple):
    """A worker for each sub-task.

    Attributes:
        workers: [S] columns.
        success: Probability that all sub-tasks succeed, taken as independent.
        cost_usd: Of all together.
        latency_ms: Along the critical path.
    """

    workers: tuple[int, ...]
    success: float
    cost_usd: float
    latency_ms: float


Goal = Literal["success", "cost", "latency"]


def optimize(options: PlanOptions, limits: PlanLimits | None = None, *, goal: Goal | None = None) -> PlanAssignment:
    """Find the best assignment by mixed-integer programming (HiGHS); proven to within 0.001 %.

    One binary variable a sub-task and worker, and a time variable a sub-task: it ends after its parents have
    ended and it has been worked on. The logarithm of a product of probabilities is a sum, so the success of a
    plan is linear too.

    Args:
        options: The plan.
        limits: What it must keep to.
        goal: What to optimise within the limits. By default the cost where there is a success target, else
            the success.

    Raises:
        InfeasibleError: Nothing keeps to the limits; it tells the cheapest, the surest and the fastest that
            keep to the others.
        InputError: The shapes do not fit, or a sub-task has no worker.
    """
    limits = limits or PlanLimits()
    _check(options)
    wanted: Goal = goal or ("cost" if limits.min_success is not None else "success")
    found = _solve(options, limits, wanted)
    if found is None:
        raise _refusal(options, limits)
    return found


def pareto_front(
    options: PlanOptions, *, points: int = 12, max_latency_ms: float | None = None
) -> list[PlanAssignment]:
    """Return assignments of which none is dominated in cost and success, the cheapest first.

    Budgets are laid evenly between the cheapest and the surest assignment, so with few points some are missed.

    Raises:
        InfeasibleError: Nothing is fast enough.
        InputError: As for `optimize`.
    """
    limits = PlanLimits(max_latency_ms=max_latency_ms)
    cheapest = optimize(options, limits, goal="cost")
    surest = optimize(options, limits, goal="success")
    front: list[PlanAssignment] = []
    for budget in np.linspace(cheapest.cost_usd, surest.cost_usd, max(points, 2)):
        found = optimize(options, limits._replace(budget_usd=float(budget) * (1 + _SLACK)), goal="success")
        # The surest may be had for less than its budget.
        frugal = optimize(options, limits._replace(min_success=found.success * (1 - 1e-7)), goal="cost")
        if not front or frugal.success > front[-1].success * (1 + 1e-9):
            front.append(frugal)
    return front


def value_of(options: PlanOptions, workers: Sequence[int]) -> PlanAssignment:
    """Price one assignment."""
    rows = np.arange(len(workers))
    columns = np.asarray(workers, dtype=np.int64)
    ends = np.zeros(len(rows))
    for node, parents in enumerate(options.dependencies):
        start = max((ends[parent] for parent in parents), default=0.0)
        ends[node] = start + options.latency_ms[node, columns[node]]
    return PlanAssignment(
        workers=tuple(int(column) for column in columns),
        success=float(np.prod(options.success[rows, columns])),
        cost_usd=float(options.cost_usd[rows, columns].sum()),
        latency_ms=float(ends.max(initial=0.0)),
    )


def _check(options: PlanOptions) -> None:
    shape = options.success.shape
    if len(shape) != 2 or not shape[0] or not shape[1]:
        raise InputError(f"`success` must be sub-tasks by workers, got the shape {shape}.")
    if options.cost_usd.shape != shape or options.latency_ms.shape != shape or len(options.dependencies) != shape[0]:
        raise InputError(f"`cost_usd`, `latency_ms` and `dependencies` must fit `success`, which is {shape}.")
    if any(not 0 <= parent < node for node, parents in enumerate(options.dependencies) for parent in parents):
        raise InputError("Parents must come before children in `dependencies`.")
    if not ((options.success >= 0) & (options.success <= 1)).all():
        raise InputError("`success` must be between 0 and 1.")
    if not (options.cost_usd >= 0).all() or not (np.isfinite(options.latency_ms) & (options.latency_ms >= 0)).all():
        raise InputError("`cost_usd` and `latency_ms` must be >= 0, and `latency_ms` finite.")
    alone = np.flatnonzero(~np.isfinite(options.cost_usd).any(1))
    if len(alone):
        raise InputError(
            f"No worker may do sub-task {int(alone[0])}.", remedy="Add a worker, or wait until one is back."
        )


def _undominated(options: PlanOptions) -> list[npt.NDArray[np.int64]]:
    """Columns a sub-task that no other column beats in success, cost and time at once."""
    kept = []
    for success, cost, latency in zip(options.success, options.cost_usd, options.latency_ms, strict=True):
        able = np.flatnonzero(np.isfinite(cost))
        facts = np.stack([-success[able], cost[able], latency[able]], axis=1)  # (C, 3), smaller is better
        no_worse = (facts[:, None, :] <= facts[None, :, :]).all(2)  # (C, C): row no worse than column
        alike = no_worse & no_worse.T
        earlier = np.tri(len(able), k=-1, dtype=np.bool_).T  # of twins the first stays
        beaten = (no_worse & (~alike | earlier)).any(0)
        kept.append(able[~beaten])
    return kept


def _solve(options: PlanOptions, limits: PlanLimits, goal: Goal) -> PlanAssignment | None:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_matrix

    columns = _undominated(options)
    nodes = np.concatenate([np.full(len(own), node) for node, own in enumerate(columns)])
    workers = np.concatenate(columns)
    size, count = len(workers), len(columns)
    log_success = np.log(np.clip(options.success[nodes, workers], _CERTAIN, 1.0))
    cost = options.cost_usd[nodes, workers]
    latency = options.latency_ms[nodes, workers]
    # Dollars and milliseconds are of very different size: each is counted in units of its largest.
    dollar, tick = max(float(cost.max()), 1e-12), max(float(latency.max()), 1e-12)
    timed = limits.max_latency_ms is not None or goal == "latency"

    entries: list[tuple[int, int, float]] = []
    lower: list[float] = []
    upper: list[float] = []

    def constrain(terms: Sequence[tuple[int, float]], low: float, high: float) -> None:
        entries.extend((len(lower), place, value) for place, value in terms)
        lower.append(low)
        upper.append(high)

    for node in range(count):
        constrain([(int(place), 1.0) for place in np.flatnonzero(nodes == node)], 1.0, 1.0)
    if limits.budget_usd is not None:
        constrain(list(enumerate((cost / dollar).tolist())), -np.inf, limits.budget_usd / dollar * (1 + _SLACK))
    if limits.min_success is not None:
        least = float(np.log(max(limits.min_success, 1e-300)))
        constrain(list(enumerate(log_success.tolist())), least - _SLACK, np.inf)
    variables = size
    if timed:
        variables += count + 1  # the end of each sub-task, and of all
        for node, parents in enumerate(options.dependencies):
            work = [(int(place), -float(latency[place]) / tick) for place in np.flatnonzero(nodes == node)]
            constrain([(size + node, 1.0), *work], 0.0, np.inf)
            for parent in parents:
                constrain([(size + node, 1.0), (size + parent, -1.0), *work], 0.0, np.inf)
            constrain([(size + count, 1.0), (size + node, -1.0)], 0.0, np.inf)
    objective = np.zeros(variables)
    if goal == "latency":
        objective[-1] = 1.0
    else:
        objective[:size] = -log_success if goal == "success" else cost / dollar
    highest = np.ones(variables)
    if timed:
        most = np.inf if limits.max_latency_ms is None else limits.max_latency_ms / tick * (1 + _SLACK)
        highest[size:] = most
    rows, places, values = zip(*entries, strict=True)
    places_of = (np.array(rows, dtype=np.int64), np.array(places, dtype=np.int64))
    matrix = coo_matrix((np.array(values), places_of), shape=(len(lower), variables)).tocsc()
    solution = milp(
        objective,
        constraints=LinearConstraint(matrix, lower, upper),
        bounds=Bounds(np.zeros(variables), highest),
        integrality=np.concatenate([np.ones(size), np.zeros(variables - size)]),
        options={"mip_rel_gap": _GAP, "time_limit": _TIME_LIMIT_S},
    )
    if solution.x is None:
        return None
    chosen = np.asarray(solution.x[:size])
    return value_of(options, [int(workers[nodes == node][chosen[nodes == node].argmax()]) for node in range(count)])


def _refusal(options: PlanOptions, limits: PlanLimits) -> InfeasibleError:
    """Say what could be had, where each limit in turn gives way."""
    cheapest = _solve(options, limits._replace(budget_usd=None), "cost")
    surest = _solve(options, limits._replace(min_success=None), "success")
    fastest = _solve(options, limits._replace(max_latency_ms=None), "latency")
    return InfeasibleError(
        budget_usd=limits.budget_usd,
        min_success=limits.min_success,
        max_latency_ms=limits.max_latency_ms,
        cheapest_usd=None if limits.budget_usd is None or cheapest is None else cheapest.cost_usd,
        best_success=None if limits.min_success is None or surest is None else surest.success,
        fastest_ms=None if limits.max_latency_ms is None or fastest is None else fastest.latency_ms,
        cheapest_workers=() if cheapest is None else cheapest.workers,
    )
