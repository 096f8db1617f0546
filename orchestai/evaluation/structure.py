"""Numbers for predicted edges between given steps. A prediction of None counts as wrong everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.contracts.steps import StepPlan, acyclic
from orchestai.errors import InputError
from orchestai.evaluation.metrics import multiset_f1

Edges = tuple[tuple[int, int], ...]
Floats = npt.NDArray[np.float64]


class StructureScores(NamedTuple):
    """One number a plan.

    Attributes:
        edge_f1: F1 of the set of direct edges between steps; START and END are no steps.
        exact: 1 where the edges are exactly the gold ones.
        valid: 1 where the graph has no cycle and no edge to a step that does not exist.
        missing: Share of the gold edges that the predicted graph does not imply, directly or by a path.
        schedule: Finishing time over the optimal one; NaN where the plan's durations are not known.
    """

    edge_f1: Floats
    exact: Floats
    valid: Floats
    missing: Floats
    schedule: Floats


def score_structures(golds: Sequence[StepPlan], predictions: Sequence[Edges | None]) -> StructureScores:
    """Compare predicted edges with the gold ones.

    Raises:
        InputError: The lengths differ.
    """
    if len(golds) != len(predictions):
        raise InputError(f"There are {len(golds)} plans but {len(predictions)} predictions.")
    rows = [_score(gold, edges) for gold, edges in zip(golds, predictions, strict=True)]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return StructureScores(*columns)


def schedule_ratio(gold: StepPlan, edges: Edges | None) -> float | None:
    """Finishing time of the schedule that `edges` imply, over the time of the gold graph's.

    All steps that are free run at once. A step starts when all its predicted parents are done *and* all that
    it truly needs is done: a predicted graph that misses a true edge is not rewarded for starting too early,
    because the step then only waits. A predicted edge too many costs the time that it makes a step wait.
    Where predicted edges contradict true ones (together they form a cycle: each would wait for the other),
    and where there is no valid prediction, the plan is done one step after another.

    Returns:
        1 or more; None where the durations are not known or the gold plan takes no time.
    """
    if gold.durations_s is None:
        return None
    optimal = makespan(gold.durations_s, gold.edges)
    if optimal <= 0:
        return None
    if edges is None or not _within(len(gold.steps), edges):
        return sum(gold.durations_s) / optimal
    together = frozenset(edges) | frozenset(gold.edges)
    if not acyclic(len(gold.steps), together):
        return sum(gold.durations_s) / optimal
    return makespan(gold.durations_s, tuple(together)) / optimal


def makespan(durations_s: Sequence[float], edges: Edges) -> float:
    """Seconds until all steps are done, when each starts as soon as its parents are done."""
    parents: list[list[int]] = [[] for _ in durations_s]
    for parent, child in edges:
        parents[child].append(parent)
    finish: dict[int, float] = {}
    while len(finish) < len(durations_s):
        ready = [n for n in range(len(durations_s)) if n not in finish and all(p in finish for p in parents[n])]
        if not ready:
            raise InputError("A graph with a cycle has no finishing time.")
        for node in ready:
            finish[node] = durations_s[node] + max((finish[p] for p in parents[node]), default=0.0)
    return max(finish.values(), default=0.0)


def _score(gold: StepPlan, edges: Edges | None) -> tuple[float, float, float, float, float]:
    ratio = schedule_ratio(gold, edges)
    ratio = float("nan") if ratio is None else ratio
    size = len(gold.steps)
    if edges is None or not _within(size, edges):
        return 0.0, 0.0, 0.0, 1.0 if gold.edges else 0.0, ratio
    implied = _before(size, edges)
    missing = sum(child not in implied[parent] for parent, child in gold.edges) / max(1, len(gold.edges))
    return (
        multiset_f1(set(edges), gold.edges),
        float(set(edges) == set(gold.edges)),
        float(acyclic(size, edges)),
        missing,
        ratio,
    )


def _within(size: int, edges: Edges) -> bool:
    return all(0 <= p < size and 0 <= c < size for p, c in edges)


def _before(size: int, edges: Edges) -> list[set[int]]:
    """Who comes after each node, directly or not."""
    after: list[set[int]] = [set() for _ in range(size)]
    for parent, child in edges:
        after[parent].add(child)
    for _ in range(size):
        for node in range(size):
            after[node] = after[node].union(*(after[child] for child in after[node]))
    return after
