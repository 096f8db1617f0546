"""A described sample, and its summary: means that every calibrated statistic is a function of.

Weighted means of a few hundred row features give all healthy draws at once, as matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.columns import CODES

Array = NDArray[np.float64]
MARK_BINS = 64


@dataclass(frozen=True)
class Described:
    """What is known of each sampled row.

    Attributes:
        index: Row number (n,).
        codes: Codes of all used columns (n, columns).
        points: Along the principal axes (n, d).
        bounded: The same, drawn back to where nearly all of the reference lies along each axis (n, d).
        kernel: Random Fourier features (n, KERNEL_FEATURES).
        cell: k-means cell (n,).
        nearest: Distance to the nearest row of the reference (n,).
        typicality: Distance to the third nearest (n,).
        gradient: Norm of the gradient, or None without a target (n,).
        own_probability: Probability of the row's own class, NaN where it has none; None without a target (n,).
        probabilities: Of all classes (n, classes).
        classes: The row's own class, -1 where it has none (n,).
    """

    index: NDArray[np.int64]
    codes: NDArray[np.int16]
    points: NDArray[np.float32]
    bounded: NDArray[np.float32]
    kernel: NDArray[np.float32]
    cell: NDArray[np.int64]
    nearest: NDArray[np.float32]
    typicality: NDArray[np.float32]
    gradient: NDArray[np.float32] | None
    own_probability: NDArray[np.float32] | None
    probabilities: NDArray[np.float32] | None
    classes: NDArray[np.int64] | None
    marks: dict[str, NDArray[np.int64]]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def take(self, places: NDArray[np.int64]) -> Described:
        """Return these rows; a row may be taken more than once."""
        return Described(
            index=self.index[places],
            codes=self.codes[places],
            points=self.points[places],
            bounded=self.bounded[places],
            kernel=self.kernel[places],
            cell=self.cell[places],
            nearest=self.nearest[places],
            typicality=self.typicality[places],
            gradient=None if self.gradient is None else self.gradient[places],
            own_probability=None if self.own_probability is None else self.own_probability[places],
            probabilities=None if self.probabilities is None else self.probabilities[places],
            classes=None if self.classes is None else self.classes[places],
            marks={name: bins[places] for name, bins in self.marks.items()},
        )

    def concat(self, other: Described) -> Described:
        """Return these rows and then the other's."""
        return Described(**{f.name: _joined(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


def _joined(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    if isinstance(a, dict):
        return {name: np.concatenate([a[name], b[name]]) for name in a}
    return np.concatenate([a, b])


class Summary(NamedTuple):
    """Means over rows; every array may have a leading axis for many draws."""

    columns: Array  # (..., columns, CODES) shares of the codes
    cells: Array  # (..., k) shares of the cells
    kernel: Array  # (..., KERNEL_FEATURES) mean Fourier features
    moment: Array  # (..., d, d) covariance along the axes
    marks: dict[str, Array]  # (..., MARK_BINS) shares of the bins of row scores
    rows: int


class MarkBins(NamedTuple):
    """Bins of a row score: equally filled in the reference, with atoms in bins of their own."""

    edges: NDArray[np.float32]

    def of(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the bin of each value (n,)."""
        return np.asarray(np.searchsorted(self.edges, values, side="right"), np.int64)


def fit_bins(values: NDArray[np.float32]) -> MarkBins:
    """Return the bins of a row score of the reference."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return MarkBins(np.empty(0, np.float32))
    return MarkBins(np.unique(np.quantile(finite, np.linspace(0, 1, MARK_BINS)[1:]).astype(np.float32)))


def summarize(described: Described, cells: int, weights: NDArray[np.float32] | None = None) -> Summary:
    """Return the means over the rows.

    Args:
        described: The rows.
        cells: Number of cells.
        weights: How often each row counts, one row a draw (draws, n); once each by default.
    """
    rows = described.rows
    single = weights is None
    w = np.ones((1, rows), np.float32) if weights is None else weights
    w = w / w.sum(1, keepdims=True)
    columns = np.zeros((len(w), described.codes.shape[1], CODES))
    for place in range(described.codes.shape[1]):
        columns[:, place] = _shares(w, described.codes[:, place], CODES)
    kernel = (w @ described.kernel).astype(np.float64)
    # Bounded: a single row far out along a weak axis would be all of its variance, in one table and not in the next.
    points = described.bounded
    mean = w @ points
    axes = points.shape[1]
    upper = np.triu_indices(axes)
    products = points[:, upper[0]] * points[:, upper[1]]  # (n, d (d + 1) / 2)
    flat = w @ products
    moment = np.zeros((len(w), axes, axes))
    moment[:, upper[0], upper[1]] = flat
    moment[:, upper[1], upper[0]] = flat
    moment -= mean[:, :, None] * mean[:, None, :]
    marks = {name: _shares(w, bins, MARK_BINS + 1) for name, bins in described.marks.items()}
    found = Summary(columns, _shares(w, described.cell, cells), kernel, moment, marks, rows)
    return first_draw(found) if single else found


def first_draw(summary: Summary) -> Summary:
    """Return the first draw without the leading axis."""
    return Summary(
        summary.columns[0],
        summary.cells[0],
        summary.kernel[0],
        summary.moment[0],
        {name: values[0] for name, values in summary.marks.items()},
        summary.rows,
    )


def repeated(summary: Summary, draws: int) -> Summary:
    """Return the same means for each of `draws` draws, without a copy in memory."""

    def of(values: Array) -> Array:
        return np.broadcast_to(values, (draws, *values.shape))

    marks = {name: of(values) for name, values in summary.marks.items()}
    return Summary(of(summary.columns), of(summary.cells), of(summary.kernel), of(summary.moment), marks, summary.rows)


def draw_weights(rng: np.random.Generator, rows: int, size: int, draws: int) -> NDArray[np.float32]:
    """Return how often each row of a sample occurs in healthy tables of `size` rows (draws, rows).

    What is known of the origin is the sample, so each draw first redraws the origin from it, and then the table from
    that origin. Beside the sample as it is, such a table differs by what both samples' sizes let expect, and by what
    bins, axes and cells that were fitted to the sample add to it: of two redraws of the sample each, neither would.
    """
    found = np.empty((draws, rows), np.float32)
    for draw in range(draws):
        origin = rng.integers(0, rows, rows)
        found[draw] = np.bincount(origin[rng.integers(0, rows, size)], minlength=rows)
    return found


def _shares(weights: NDArray[np.float32], codes: NDArray[np.int16] | NDArray[np.int64], size: int) -> Array:
    """Return the weighted share of each code (draws, size)."""
    if len(weights) == 1:
        counts = np.bincount(codes, weights=weights[0], minlength=size)
        return np.asarray(counts, np.float64)[None, :size]
    used, place = np.unique(codes, return_inverse=True)
    hot = np.zeros((len(codes), len(used)), np.float32)
    hot[np.arange(len(codes)), place] = 1
    out = np.zeros((len(weights), size))
    out[:, used] = weights @ hot
    return out
