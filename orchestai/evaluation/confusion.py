"""Which task types are taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.contracts import PlanExample, PlanPrediction
from orchestai.contracts.base import Record
from orchestai.errors import InputError

NOTHING = "(none)"
"""Row of types that were predicted without need, and column of types that were left out."""


class ConfusionMatrix(Record):
    """How often each gold type was predicted as each type.

    Attributes:
        labels: The types, and last `(none)`.
        counts: `counts[gold][predicted]`.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def array(self) -> npt.NDArray[np.int64]:
        """The counts as a matrix."""
        return np.array(self.counts, dtype=np.int64)

    @property
    def accuracy(self) -> float:
        """Share of gold nodes whose type was predicted."""
        matrix = self.array()
        total = int(matrix[:-1].sum())
        return float(np.trace(matrix[:-1, :-1])) / total if total else 0.0


def confusion(
    golds: Sequence[PlanExample], predictions: Sequence[PlanPrediction | None], labels: Sequence[str]
) -> ConfusionMatrix:
    """Count confusions of task types.

    Within a plan, equal types are matched first; what is left over is matched in order, and what finds no
    partner is confused with `(none)`.

    Args:
        golds: Examples with the gold plans.
        predictions: One an example; None is an empty plan.
        labels: The types in the order of the matrix; others are added behind them.

    Raises:
        InputError: There are not as many predictions as examples.
    """
    if len(golds) != len(predictions):
        raise InputError(f"There are {len(golds)} examples but {len(predictions)} predictions.")
    pairs: Counter[tuple[str, str]] = Counter()
    for gold, predicted in zip(golds, predictions, strict=True):
        pairs.update(_pairs(list(gold.task_types), list(predicted.task_types) if predicted else []))
    names = dict.fromkeys([*labels, *(name for pair in sorted(pairs) for name in pair)])
    names.pop(NOTHING, None)
    ordered = (*names, NOTHING)
    return ConfusionMatrix(
        labels=ordered,
        counts=tuple(tuple(pairs[gold, predicted] for predicted in ordered) for gold in ordered),
    )


def _pairs(gold: list[str], predicted: list[str]) -> list[tuple[str, str]]:
    common = Counter(gold) & Counter(predicted)
    found = [(name, name) for name in common.elements()]
    wanted, given = _without(gold, common), _without(predicted, common)
    size = max(len(wanted), len(given))
    wanted += [NOTHING] * (size - len(wanted))
    given += [NOTHING] * (size - len(given))
    return found + list(zip(wanted, given, strict=True))


def _without(names: list[str], common: Counter[str]) -> list[str]:
    left = Counter(common)
    kept = []
    for name in names:
        if left[name] > 0:
            left[name] -= 1
        else:
            kept.append(name)
    return kept
