"""Expected reward of an execution from who does what: an additive ridge, so that its mean over a policy is exact."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestai.evaluation.off_policy.rows import LoggedExecution
from orchestai.evaluation.off_policy.weights import Wishes

Array = npt.NDArray[np.float64]

_PENALTY = 1.0  # each effect is drawn towards zero by the weight of one execution


class Designs:
    """Design matrices over (task type), (worker), (task type, worker), averaged over the sub-tasks of an execution.

    Because all effects add up, the expectation over a policy is the same matrix with probabilities in the place of
    ones: no sum over the workers of all sub-tasks together is needed.

    Args:
        rows: Executions; their task types and workers are what the model knows.
    """

    def __init__(self, rows: Sequence[LoggedExecution]) -> None:
        pairs = {(choice.task_type, choice.worker) for row in rows for choice in row.choices}
        columns = itertools.count()
        self._kinds = {name: next(columns) for name in sorted({kind for kind, _ in pairs})}
        self._workers = {name: next(columns) for name in sorted({worker for _, worker in pairs})}
        self._pairs = {pair: next(columns) for pair in sorted(pairs)}
        self._features = len(rows[0].features)
        self._width = next(columns) + self._features + 2

    def taken(self, rows: Sequence[LoggedExecution]) -> Array:
        """Return [N, D] of what was done."""
        return self.expected(rows, [tuple({choice.worker: 1.0} for choice in row.choices) for row in rows])

    def expected(self, rows: Sequence[LoggedExecution], wishes: Wishes) -> Array:
        """Return [N, D] of what a policy does on average; workers that the log lacks add nothing of their own."""
        lines: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        for place, (row, given) in enumerate(zip(rows, wishes, strict=True)):
            share = 1 / len(row.choices)
            for choice, chances in zip(row.choices, given, strict=True):
                found = [(self._kinds[choice.task_type], share), *self._effects(choice.task_type, chances, share)]
                lines += [place] * len(found)
                columns += [column for column, _ in found]
                values += [value for _, value in found]
        matrix = np.zeros((len(rows), self._width))
        np.add.at(matrix, (lines, columns), values)
        if self._features:
            matrix[:, -2 - self._features : -2] = [row.features for row in rows]
        matrix[:, -2] = np.log([len(row.choices) for row in rows])
        matrix[:, -1] = 1.0
        return matrix

    def _effects(self, kind: str, chances: Mapping[str, float], share: float) -> Iterator[tuple[int, float]]:
        for worker, chance in chances.items():
            if (place := self._workers.get(worker)) is not None:
                yield place, share * chance
            if (place := self._pairs.get((kind, worker))) is not None:
                yield place, share * chance


def cross_fitted(
    rows: Sequence[LoggedExecution], rewards: Array, wishes: Sequence[Wishes], *, folds: int
) -> tuple[Array, list[Array]]:
    """Predict every execution by a model that saw neither it nor its group (arXiv:1608.00060, sec. 1).

    Args:
        rows: The executions.
        rewards: [N].
        wishes: What each of some policies would do.
        folds: Parts that the groups are divided into, by a hash of their names.

    Returns:
        [N] expected reward of what was done, and [N] of what each policy would do.
    """
    designs = Designs(rows)
    taken = designs.taken(rows)
    expected = [designs.expected(rows, each) for each in wishes]
    fold = np.array([int(hashlib.sha256(row.group.encode()).hexdigest()[:8], 16) % folds for row in rows])
    done, would = np.zeros(len(rows)), [np.zeros(len(rows)) for _ in wishes]
    parts = [fold == part for part in range(folds)]
    products = [(taken[inside].T @ taken[inside], taken[inside].T @ rewards[inside]) for inside in parts]
    gram, moment = sum(each for each, _ in products), sum(each for _, each in products)
    for inside, (own_gram, own_moment) in zip(parts, products, strict=True):
        effects = _ridge(gram - own_gram, moment - own_moment)
        done[inside] = taken[inside] @ effects
        for values, matrix in zip(would, expected, strict=True):
            values[inside] = matrix[inside] @ effects
    return done, would


def _ridge(gram: Array, moment: Array) -> Array:
    penalty = np.full(len(gram), _PENALTY)
    penalty[-1] = 1e-6  # the mean is not drawn anywhere
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), moment), dtype=np.float64)
