"""The assignment of a plan as a mixed-integer program: choices that matter, relaxation, integer solution (HiGHS)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.routing.choices import Goal, PlanLimits, PlanOptions

Array = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

CERTAIN = 1e-6
"""Success below this counts as this, since the logarithm of 0 is no number."""

SLACK = 1e-9
"""Limits may be exceeded by this share, for rounding."""

_GAP = 3e-4
_TIME_LIMIT_S = 10.0


def _undominated(options: PlanOptions, limits: PlanLimits, goal: Goal) -> list[Columns]:
    """Columns a sub-task that no other column beats at once in all that counts here."""
    facts = [options.cost_usd]
    if goal == "success" or limits.min_success is not None:
        facts.append(-np.log(np.clip(options.success, CERTAIN, 1.0)))
    if goal == "latency" or limits.max_latency_ms is not None:
        facts.append(options.latency_ms)
    if goal != "cost" and limits.budget_usd is None:
        facts[0] = np.where(np.isfinite(options.cost_usd), 0.0, np.inf)  # only whether it may
    stacked = np.stack(facts, axis=2)  # (S, W, F), smaller is better
    no_worse = (stacked[:, :, None, :] <= stacked[:, None, :, :]).all(3)  # (S, W, W): row no worse than column
    alike = no_worse & np.swapaxes(no_worse, 1, 2)
    earlier = np.tri(stacked.shape[1], k=-1, dtype=np.bool_).T  # of twins the first stays
    beaten = (no_worse & (~alike | earlier)).any(1) | ~np.isfinite(options.cost_usd)
    return [np.flatnonzero(~row) for row in beaten]


class Program(NamedTuple):
    """A mixed-integer program: one binary a choice, then the ends of the sub-tasks and of all.

    Attributes:
        nodes: [C] sub-task of each choice.
        workers: [C] column of each choice.
        objective: [V].
        matrix: [R, V].
        lower: [R].
        upper: [R].
        highest: [V] upper bounds.
        tick: Milliseconds of its unit of time.
        gap: Difference from the optimum, in terms of the objective, that is allowed.
    """

    nodes: Columns
    workers: Columns
    objective: Array
    matrix: Any
    lower: Array
    upper: Array
    highest: Array
    tick: float
    gap: float

    def with_budget(self, share: float) -> Program:
        """Return the program with this share of its budget, which it must have."""
        upper = self.upper.copy()
        upper[int(self.nodes.max()) + 1] *= share  # the row after those of the sub-tasks
        return self._replace(upper=upper)

    def only(self, kept: npt.NDArray[np.bool_]) -> Program:
        """Return the program without the choices that are not kept."""
        variables = np.append(kept, np.ones(len(self.objective) - len(kept), dtype=np.bool_))
        return self._replace(
            nodes=self.nodes[kept],
            workers=self.workers[kept],
            objective=self.objective[variables],
            matrix=self.matrix[:, np.flatnonzero(variables)],
            highest=self.highest[variables],
        )


def build_program(options: PlanOptions, limits: PlanLimits, goal: Goal) -> Program:
    """Return the program of a plan: one worker a sub-task, then budget, success and times as far as limited."""
    from scipy.sparse import csc_array

    columns = _undominated(options, limits, goal)
    count = len(columns)
    sizes = [len(own) for own in columns]
    nodes = np.repeat(np.arange(count), sizes)
    workers = np.concatenate(columns)
    size = len(workers)
    log_success = np.log(np.clip(options.success[nodes, workers], CERTAIN, 1.0))
    cost, latency = options.cost_usd[nodes, workers], options.latency_ms[nodes, workers]
    # Dollars and milliseconds are of very different size: each is counted in units of its largest.
    dollar, tick = max(float(cost.max()), 1e-12), max(float(latency.max()), 1e-12)
    timed = limits.max_latency_ms is not None or goal == "latency"
    variables = size + (count + 1 if timed else 0)
    one_each = np.zeros((count, variables))
    one_each[nodes, np.arange(size)] = 1.0
    rows, lower, upper = [one_each], [1.0] * count, [1.0] * count
    if limits.budget_usd is not None:
        rows.append(_row(variables, cost / dollar))
        lower.append(-np.inf)
        upper.append(limits.budget_usd / dollar * (1 + SLACK))
    if limits.min_success is not None:
        rows.append(_row(variables, log_success))
        lower.append(float(np.log(max(limits.min_success, 1e-300))) - SLACK)
        upper.append(np.inf)
    highest = np.ones(variables)
    if timed:
        ends = _ends(options.dependencies, nodes, latency / tick)
        rows.append(ends)
        lower += [0.0] * len(ends)
        upper += [np.inf] * len(ends)
        highest[size:] = np.inf if limits.max_latency_ms is None else limits.max_latency_ms / tick * (1 + SLACK)
    objective = np.zeros(variables)
    if goal == "latency":
        objective[-1] = 1.0
    else:
        objective[:size] = -log_success if goal == "success" else cost / dollar
    # A thousandth of the success is a thousandth of its logarithm; of the cost, of the least that it can be.
    cheapest = float(np.minimum.reduceat(objective[:size], np.cumsum([0, *sizes[:-1]])).sum())
    gap = _GAP if goal == "success" else _GAP * max(cheapest, 1e-9)
    return Program(
        nodes, workers, objective, csc_array(np.vstack(rows)), np.array(lower), np.array(upper), highest, tick, gap
    )


def _row(variables: int, values: Array) -> Array:
    row = np.zeros((1, variables))
    row[0, : len(values)] = values
    return row


def _ends(dependencies: tuple[tuple[int, ...], ...], nodes: Columns, work: Array) -> Array:
    """Rows that say: a sub-task ends after its parents and its own work, and all ends after each.

    Ends follow only for what has no children, the others end before these anyway.
    """
    size, count = len(work), len(dependencies)
    rows = []
    inner = {parent for parents in dependencies for parent in parents}
    for node, parents in enumerate(dependencies):
        for parent in parents or (None,):
            row = np.zeros(size + count + 1)
            row[:size] = np.where(nodes == node, -work, 0.0)
            row[size + node] = 1.0
            if parent is not None:
                row[size + parent] = -1.0
            rows.append(row)
        if node not in inner:
            row = np.zeros(size + count + 1)
            row[size + count], row[size + node] = 1.0, -1.0
            rows.append(row)
    return np.array(rows)


def relax(program: Program) -> tuple[float, Array] | None:
    """Return the optimum of the linear relaxation and what each choice costs beyond it; None if infeasible."""
    from scipy.optimize import linprog
    from scipy.sparse import vstack

    equal = program.lower == program.upper
    most, least = np.isfinite(program.upper) & ~equal, np.isfinite(program.lower) & ~equal
    rows = program.matrix.tocsr()
    terms: dict[str, Any] = {"A_eq": rows[equal], "b_eq": program.upper[equal]}
    if (most | least).any():
        terms["A_ub"] = vstack([rows[most], -rows[least]])
        terms["b_ub"] = np.concatenate([program.upper[most], -program.lower[least]])
    bounds: Any = np.stack([np.zeros(len(program.highest)), program.highest], axis=1)
    bounds[: len(program.nodes), 1] = np.inf  # implied by one worker a sub-task
    solution = linprog(program.objective, bounds=bounds, method="highs-ds", **terms)
    if solution.x is None or solution.fun is None:
        return None
    return float(solution.fun), np.asarray(solution.lower.marginals[: len(program.nodes)], dtype=np.float64)


def solve_integer(program: Program, least: float) -> tuple[float, list[int]] | None:
    """Return the optimum and the worker of each sub-task; None if there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    size = len(program.nodes)
    solution = milp(
        program.objective,
        constraints=LinearConstraint(program.matrix, program.lower, program.upper),
        bounds=Bounds(np.zeros(len(program.highest)), program.highest),
        integrality=np.concatenate([np.ones(size), np.zeros(len(program.highest) - size)]),
        options={"mip_rel_gap": program.gap / max(abs(least), 1e-9), "time_limit": _TIME_LIMIT_S},
    )
    if solution.x is None:
        return None
    chosen = np.asarray(solution.x[:size])
    places = [np.flatnonzero(program.nodes == node) for node in range(int(program.nodes.max()) + 1)]
    return float(solution.fun), [int(program.workers[own[chosen[own].argmax()]]) for own in places]
