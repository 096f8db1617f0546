"""A uniform sample of rows whose members do not depend on how the rows were cut into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.hashing import hash_rows


class Rows(Protocol):
    """Something with rows."""

    def take(self, places: NDArray[np.int64]) -> Self:
        """Return these rows."""

    def concat(self, others: Sequence[Self]) -> Self:
        """Return these rows and then the others'."""


R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class RowSample(Generic[R]):
    """The rows with the smallest hashes of their row number (bottom-k sample, Cohen & Kaplan 2007).

    Attributes:
        size: Most rows held.
        seed: Chooses which rows those are.
        index: Row numbers, by priority (k,).
        rows: The rows; None before the first.
    """

    size: int
    seed: int
    index: NDArray[np.int64]
    rows: R | None

    @classmethod
    def empty(cls, size: int, seed: int) -> RowSample[R]:
        """Return the sample of no rows."""
        return cls(size, seed, np.empty(0, np.int64), None)

    def wanted(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of the rows in `index` that could still enter the sample."""
        priority = hash_rows(index, self.seed)
        if len(self.index) >= self.size:
            limit = hash_rows(self.index[-1:], self.seed)[0]
            return np.flatnonzero(priority < limit)
        if len(index) > self.size:
            return np.sort(np.argpartition(priority, self.size)[: self.size])
        return np.arange(len(index))

    def add(self, index: NDArray[np.int64], rows: R) -> RowSample[R]:
        """Return the sample after rows with these numbers."""
        return self.merge(RowSample(self.size, self.seed, index, rows))

    def merge(self, other: RowSample[R]) -> RowSample[R]:
        """Return the sample of both parts."""
        index = np.concatenate([self.index, other.index])
        if not len(index):
            return self
        parts = [rows for rows in (self.rows, other.rows) if rows is not None]
        order = np.argsort(hash_rows(index, self.seed), kind="stable")[: self.size]
        joined = parts[0].concat(parts[1:]) if len(parts) > 1 else parts[0]
        return RowSample(self.size, self.seed, index[order], joined.take(order))
