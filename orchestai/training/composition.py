"""Composes workflows: the shapes of real plans, filled with sub-tasks whose outcomes are known for every worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.errors import DataError
from orchestai.training.workflows import Actions, Array, Mask, Outcomes, Workflows

Shape = tuple[tuple[int, ...], ...]
"""The parents of each sub-task, parents first."""

BUDGETS = (np.inf, np.inf, 1.0, 0.5)
"""Budgets that are drawn, as shares of what the best single worker would cost; every second workflow has none."""


class Questions(NamedTuple):
    """Sub-tasks to fill shapes with: N of them, W workers."""

    states: npt.NDArray[np.float32]  # (N, D)
    usable: Mask  # (N, W)
    expected: Outcomes  # (N, W) each
    actual: Outcomes  # (N, W) each

    def __len__(self) -> int:
        return len(self.states)

    def take(self, rows: Actions) -> Questions:
        """Return some of them."""
        return Questions(self.states[rows], self.usable[rows], self.expected.take(rows), self.actual.take(rows))


def compose(
    questions: Questions,
    shapes: Sequence[Shape],
    *,
    count: int,
    best_single: int,
    seed: int,
    groups: int = 1,
    outage: float = 0.02,
) -> Workflows:
    """Draw workflows.

    The questions are dealt into groups first, and a workflow takes all of its questions from one group, each at most
    once: workflows of different groups share nothing, which is what an interval over groups needs.

    Args:
        questions: What there is to do.
        shapes: Graphs, drawn with equal chances.
        count: How many workflows.
        best_single: Column whose expected cost budgets are shares of.
        seed: Equal seeds give equal workflows.
        groups: Number of groups.
        outage: Chance of a worker to be away for a workflow.

    Raises:
        DataError: A group has fewer questions than the smallest shape needs.
    """
    rng = np.random.default_rng(seed)
    dealt = np.array_split(rng.permutation(len(questions)), groups)
    fitting = [shape for shape in shapes if 0 < len(shape) <= min(map(len, dealt))]
    if not fitting:
        raise DataError(
            f"{len(questions)} questions in {groups} groups fill none of the {len(shapes)} shapes.",
            remedy="Give more questions, or smaller plans.",
        )
    longest = max(map(len, fitting))
    workers = questions.usable.shape[1]
    picked = np.zeros((count, longest), dtype=np.int64)
    present = np.zeros((count, longest), dtype=np.bool_)
    parents = np.zeros((count, longest, longest), dtype=np.bool_)
    shares = np.zeros(count)
    member = np.zeros(count, dtype=np.int64)
    away = rng.random((count, workers)) < outage
    for place in range(count):
        shape = fitting[rng.integers(len(fitting))]
        member[place] = place % groups
        picked[place, : len(shape)] = rng.choice(dealt[member[place]], len(shape), replace=False)
        present[place, : len(shape)] = True
        for node, waits in enumerate(shape):
            parents[place, node, list(waits)] = True
        shares[place] = BUDGETS[rng.integers(len(BUDGETS))]
    usable = questions.usable[picked]
    allowed = usable & ~away[:, None, :]
    allowed = np.where(allowed.any(-1, keepdims=True), allowed, usable)  # somebody always answers
    expected, actual = questions.expected.take(picked), questions.actual.take(picked)
    return Workflows(
        present=present,
        parents=parents,
        allowed=allowed,
        budget_usd=_budgets(expected, allowed, present, shares, best_single),
        states=questions.states[picked],
        expected=expected,
        actual=actual,
        groups=member,
    )


def _budgets(expected: Outcomes, allowed: Mask, present: Mask, shares: Array, best_single: int) -> Array:
    """Dollars: a share of the best single worker's price, never less than the cheapest plan costs."""
    usual = np.where(present, expected.cost_usd[..., best_single], 0.0).sum(1)
    cheapest = np.where(allowed, expected.cost_usd, np.inf).min(-1)
    least = np.where(present, cheapest, 0.0).sum(1)
    most = np.where(np.isfinite(shares), usual * np.where(np.isfinite(shares), shares, 0.0), np.inf)
    return np.asarray(np.maximum(most, least * 1.0001))
