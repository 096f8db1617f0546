"""Where values lie among sorted ones: what binary search finds, in a fraction of its time for millions of values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CELLS = 4096
_DEEPEST = 4
_FEWEST = 2_000
"""Fewer values are searched one by one: laying them out costs more."""


class Lookup:
    """Sorted values under a grid of equal cells.

    A cell says how many of the values lie in cells before it; those in the cell itself are compared one after the
    other. Cells come of a function that never falls, so what lies in an earlier cell is smaller, and the result is
    exactly that of `np.searchsorted(..., side="right")`. Where many values crowd into one cell, that is used.

    Args:
        values: Ascending, finite (k,).
    """

    def __init__(self, values: Floats) -> None:
        self._values = values
        self._low = self._scale = 0.0
        self._before = np.zeros(0, np.int64)
        self._depth = _DEEPEST + 1
        if len(values) < 2:
            return
        # The ends may lie far out; what is beyond the inner ones falls into the first and the last cell.
        low, high = (values[1], values[-2]) if len(values) > 4 else (values[0], values[-1])
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scale = (_CELLS - 2) / (high - low)
        if not (np.isfinite(scale) and scale > 0):
            return
        self._low, self._scale = float(low), float(scale)
        counts = np.bincount(self._cells(values), minlength=_CELLS)  # the function that places what is looked up
        self._before = np.cumsum(counts) - counts
        self._depth = int(counts.max())
        self._padded = np.append(values, np.inf)

    def __call__(self, values: Floats) -> NDArray[np.int64]:
        """Return how many of the sorted values are not larger than each of these, which must be finite (n,)."""
        if self._depth > _DEEPEST or len(values) < _FEWEST:
            return np.asarray(np.searchsorted(self._values, values, side="right"), np.int64)
        place = self._before[self._cells(values)]
        for _ in range(self._depth):
            place += self._padded[place] <= values
        return place

    def _cells(self, values: Floats) -> NDArray[np.int64]:
        with np.errstate(over="ignore"):  # what overflows lies in the first or the last cell, as its sign says
            cells = values - self._low
            cells *= self._scale
            cells += 1.0
        np.clip(cells, 0, _CELLS - 1, out=cells)
        return cells.astype(np.int64)


class Curve:
    """A curve through points, straight in between, as `np.interp` draws it.

    Args:
        x: Ascending, different, finite (k,).
        y: Its heights (k,).
    """

    def __init__(self, x: Floats, y: Floats) -> None:
        self._lookup = Lookup(x)
        with np.errstate(over="ignore"):
            steps = np.diff(x)
        self._exact = len(x) > 1 and bool(np.isfinite(steps).all())
        self._x, self._y = x, y
        self._slopes = np.append(np.diff(y) / steps, 0.0) if self._exact else np.zeros(len(x))

    def __call__(self, values: Floats) -> Floats:
        """Return the heights at finite values; beyond the ends those of the ends (n,)."""
        if not self._exact or len(values) < _FEWEST:
            return np.asarray(np.interp(values, self._x, self._y))
        within = np.clip(values, self._x[0], self._x[-1])
        place = self._lookup(within)
        place -= 1
        within -= self._x[place]
        within *= self._slopes[place]
        within += self._y[place]
        return within
