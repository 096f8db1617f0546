"""The best assignment of workers to a whole plan: under a budget, a success target, a time limit."""

from __future__ import annotations

import numpy as np

from orchestai.errors import InfeasibleError
from orchestai.routing.choices import Goal, PlanAssignment, PlanLimits, PlanOptions, check_options, value_of
from orchestai.routing.labels import Labels
from orchestai.routing.program import SLACK, Program, build_program, relax, solve_integer

__all__ = ["Goal", "PlanAssignment", "PlanLimits", "PlanOptions", "optimize", "pareto_front", "value_of"]

_TIGHTER = 0.9
_NARROW = 600
_WIDE = 2000


def optimize(
    options: PlanOptions, limits: PlanLimits | None = None, *, goal: Goal | None = None, exact: bool = False
) -> PlanAssignment:
    """Find the best assignment.

    The program has one binary variable a sub-task and worker, and a time variable a sub-task: it ends after its
    parents have ended and it has been worked on. The logarithm of a product of probabilities is a sum, so the
    success of a plan is linear too.

    Args:
        options: The plan.
        limits: What it must keep to.
        goal: What to optimise within the limits. By default the cost where there is a success target, else
            the success.
        exact: Prove the result to within 0.1 %, whatever that takes: large plans with tight limits of both time and
            money take HiGHS up to a second. Without it such a plan is the best of a search of some milliseconds, and
            `gap` says how much may be missing; small plans and most large ones are proven all the same.

    Raises:
        InfeasibleError: Nothing keeps to the limits; it tells the cheapest, the surest and the fastest that
            keep to the others.
        InputError: The shapes do not fit, or a sub-task has no worker.
    """
    limits = limits or PlanLimits()
    check_options(options)
    wanted: Goal = goal or ("cost" if limits.min_success is not None else "success")
    found = _solve(options, limits, wanted, exact)
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
        found = optimize(options, limits._replace(budget_usd=float(budget) * (1 + SLACK)), goal="success")
        # The surest may be had for less than its budget.
        frugal = optimize(options, limits._replace(min_success=found.success * (1 - 1e-7)), goal="cost")
        if not front or frugal.success > front[-1].success * (1 + 1e-9):
            front.append(frugal)
    return front


def _solve(options: PlanOptions, limits: PlanLimits, goal: Goal, exact: bool) -> PlanAssignment | None:
    """Search along the relaxation's prices, and prove what was found; None if nothing keeps to the limits.

    The linear relaxation says how much each choice costs at least beyond its optimum. The search follows the
    partial plans of which that sum is least. If it never had to leave one out that could be better than what it
    found, that is the optimum; so it is on small plans. Else the integer program is asked, of only those
    choices that could be better.
    """
    program = build_program(options, limits, goal)
    relaxed = relax(program)
    if relaxed is None:
        return None
    least, reduced = relaxed
    labels = Labels(options, limits, goal, program)
    found, complete = labels.search(reduced, width=_NARROW)
    if found is None and complete:
        return None
    if found is not None and not complete and labels.worth(found) > least + program.gap:
        found = labels.better(found, _second_opinion(limits, program, labels))
        again, complete = labels.search(reduced, width=_WIDE, reach=labels.worth(found) - least - program.gap)
        found = labels.better(found, again)
    elif found is not None:
        complete = True
    if found is not None and (complete or not exact):
        gap = 0.0 if complete else _relative(labels.worth(found) - least, least, goal)
        return value_of(options, found)._replace(gap=gap)
    reach = np.inf if found is None else labels.worth(found) - least
    solved = solve_integer(program.only(reduced <= reach), least)
    if solved is None:
        return None if found is None else value_of(options, found)
    return value_of(options, solved[1])


def _second_opinion(limits: PlanLimits, program: Program, labels: Labels) -> tuple[int, ...] | None:
    """Search along the prices of a smaller budget: fractions of workers make the relaxation too hopeful of it."""
    if limits.budget_usd is None or limits.max_latency_ms is None:
        return None
    relaxed = relax(program.with_budget(_TIGHTER))
    return None if relaxed is None else labels.search(relaxed[1], width=_NARROW)[0]


def _relative(difference: float, least: float, goal: Goal) -> float:
    """Of success, the share that may be missing; of cost and time, the share that may be too much."""
    if goal == "success":
        return float(-np.expm1(-max(difference, 0.0)))
    return max(difference, 0.0) / max(abs(least), 1e-12)


def _refusal(options: PlanOptions, limits: PlanLimits) -> InfeasibleError:
    """Say what could be had, where each limit in turn gives way."""
    cheapest = _solve(options, limits._replace(budget_usd=None), "cost", False)
    surest = _solve(options, limits._replace(min_success=None), "success", False)
    fastest = _solve(options, limits._replace(max_latency_ms=None), "latency", False)
    return InfeasibleError(
        budget_usd=limits.budget_usd,
        min_success=limits.min_success,
        max_latency_ms=limits.max_latency_ms,
        cheapest_usd=None if limits.budget_usd is None or cheapest is None else cheapest.cost_usd,
        best_success=None if limits.min_success is None or surest is None else surest.success,
        fastest_ms=None if limits.max_latency_ms is None or fastest is None else fastest.latency_ms,
        cheapest_workers=() if cheapest is None else cheapest.workers,
    )
