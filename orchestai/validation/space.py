"""The geometry of the reference: principal axes, cells, a kernel, nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.columns import CODES
from orchestai.validation.encode import Encoder
from orchestai.validation.states.table import SampleRows

Matrix = NDArray[np.float32]

AXES = 32
KERNEL_FEATURES = 256
NEIGHBOURS = 3
_GROUP = 32
_SPREADS = 4.0


@dataclass(frozen=True)
class Space:
    """Frozen geometry.

    Attributes:
        center: Mean of the features (features,).
        axes: Principal axes, the strongest first (features, d).
        spread: Standard deviation along each (d,).
        cells: Centres of the k-means cells along the axes (k, d).
        directions: Frequencies of the random Fourier features (d, KERNEL_FEATURES).
        phases: Their phases (KERNEL_FEATURES,).
        points: The reference sample along the axes (m, d).
        bounds: Ends of where nearly all of it lies (2, d).
        label_table: Features of each code of the label (CODES, classes), or None.
        label_place: Place of the label in the codes.
    """

    center: Matrix
    axes: Matrix
    spread: Matrix
    cells: Matrix
    directions: Matrix
    phases: Matrix
    points: Matrix
    bounds: Matrix
    label_table: Matrix | None
    label_place: int | None

    def project(self, sample: SampleRows) -> Matrix:
        """Return rows along the principal axes (n, d)."""
        return np.asarray((self._features(sample) - self.center) @ self.axes, np.float32)

    def _features(self, sample: SampleRows) -> Matrix:
        if self.label_table is None or self.label_place is None:
            return sample.features
        return np.concatenate([sample.features, self.label_table[sample.codes[:, self.label_place]]], axis=1)

    @property
    def kinds(self) -> int:
        """Number of cells, and one more for rows that are far from every reference row."""
        return len(self.cells) + 1

    def cell_of(self, points: Matrix) -> NDArray[np.int64]:
        """Return the nearest cell of each point (n,)."""
        return nearest_cell(points, self.cells)

    def kernel_features(self, points: Matrix) -> Matrix:
        """Return random Fourier features (Rahimi & Recht 2007): their inner product is a Gaussian kernel."""
        waves = points @ self.directions + self.phases
        np.cos(waves, out=waves)
        waves *= np.float32(np.sqrt(2.0 / KERNEL_FEATURES))
        return waves

    def distance(self, points: Matrix, *, leave_self_out: bool = False) -> tuple[Matrix, Matrix]:
        """Return the distance to the nearest and to the third nearest reference row (n,), (n,)."""
        return neighbour_distances(points, self.points, leave_self_out=leave_self_out)


def fit_space(encoder: Encoder, sample: SampleRows, *, seed: int) -> Space | None:
    """Learn the geometry of a sample; None without two rows or a column to measure in."""
    rows = len(sample.codes)
    table = _label_table(encoder)
    place = encoder.label_place
    features = sample.features
    if table is not None and place is not None:
        features = np.concatenate([features, table[sample.codes[:, place]]], axis=1)
    if rows < 10 or not features.shape[1]:
        return None
    center = features.mean(0)
    centred = features - center
    axes, spread = _principal(centred)
    if not len(spread):
        return None
    points = centred @ axes
    rng = np.random.default_rng(seed)
    cells = _kmeans(points, int(np.clip(rows // 100, 3, 40)), rng)
    pairs = points[rng.integers(0, rows, (2, 2000))]
    gaps = np.sqrt(np.square(pairs[0] - pairs[1]).sum(1))
    width = max(float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 1.0, 1e-6) / 2
    directions = rng.standard_normal((len(spread), KERNEL_FEATURES)).astype(np.float32) / np.float32(width)
    phases = rng.uniform(0, 2 * np.pi, KERNEL_FEATURES).astype(np.float32)
    return Space(center, axes, spread, cells, directions, phases, points, _bounds(points), table, place)


def _bounds(points: Matrix) -> Matrix:
    """Return the ends of 99 % of the points along each axis, or of four spreads of their middle (2, d)."""
    outer, inner = np.quantile(points, [0.005, 0.995], axis=0), np.quantile(points, [0.1, 0.9], axis=0)
    reach = _SPREADS * (inner[1] - inner[0]) / 2.56
    middle = np.median(points, axis=0)
    return np.stack([np.minimum(outer[0], middle - reach), np.maximum(outer[1], middle + reach)]).astype(np.float32)


def nearest_cell(points: Matrix, cells: Matrix) -> NDArray[np.int64]:
    """Return the place of the nearest of `cells` for each point (n,)."""
    return np.asarray((np.square(cells).sum(1) - 2 * points @ cells.T).argmin(1))


def neighbour_distances(points: Matrix, others: Matrix, *, leave_self_out: bool = False) -> tuple[Matrix, Matrix]:
    """Return each point's distance to its nearest and third nearest of `others`.

    Args:
        points: (n, d).
        others: (m, d).
        leave_self_out: `points` are `others`, and no point is its own neighbour.
    """
    count = min(NEIGHBOURS, len(others) - leave_self_out)
    first, third = np.empty(len(points), np.float32), np.empty(len(points), np.float32)
    squares = np.square(others).sum(1)
    for start in range(0, len(points), 1024):
        piece = points[start : start + 1024]
        gaps = squares - 2 * piece @ others.T
        if leave_self_out:
            gaps[np.arange(len(piece)), np.arange(start, start + len(piece))] = np.inf
        near = smallest(gaps, count) + np.square(piece).sum(1)[:, None]
        near = np.sqrt(np.sort(near.clip(0), axis=1))
        first[start : start + len(piece)], third[start : start + len(piece)] = near[:, 0], near[:, -1]
    return first, third


def smallest(table: Matrix, count: int) -> Matrix:
    """Return the `count` smallest values of each row, in no order (n, count).

    They lie in the `count` groups whose own smallest values are the smallest: only those are searched, which takes half
    the time of searching all.
    """
    rows, width = table.shape
    groups = width // _GROUP
    if groups <= 4 * count:
        return np.partition(table, count - 1, axis=1)[:, :count]
    grouped = table[:, : groups * _GROUP].reshape(rows, _GROUP, groups)
    best = np.argpartition(grouped.min(1), count - 1, axis=1)[:, :count]
    found = np.take_along_axis(grouped, best[:, None, :], axis=2).reshape(rows, -1)
    rest = np.concatenate([found, table[:, groups * _GROUP :]], axis=1)
    return np.partition(rest, count - 1, axis=1)[:, :count]


def _label_table(encoder: Encoder) -> Matrix | None:
    place = encoder.label_place
    if place is None:
        return None
    column = encoder.used[place]
    used = np.flatnonzero(column.shares > 0)
    spread = np.sqrt(max(float((column.shares * (1 - column.shares)).sum()), 1e-9))
    return np.asarray(np.eye(CODES)[:, used] / spread, np.float32)


def _principal(centred: Matrix) -> tuple[Matrix, Matrix]:
    """Return at most AXES axes, fewer on few rows, without those that hardly vary."""
    rows, width = centred.shape
    if width <= rows:
        values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / rows)
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        _, singular, right = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
        values, vectors = np.square(singular) / rows, right.T
    keep = int(min(AXES, max(rows // 10, 1), (values > max(values[0], 0) * 1e-3).sum()))
    return vectors[:, :keep].astype(np.float32), np.sqrt(values[:keep]).astype(np.float32)


def _kmeans(points: Matrix, count: int, rng: np.random.Generator) -> Matrix:
    """Return centres after k-means++ seeding and ten rounds of Lloyd's algorithm on at most 4,000 points."""
    points = points[:4000]
    centres = points[rng.integers(len(points))][None]
    gaps = np.square(points - centres[0]).sum(1)
    for _ in range(count - 1):
        total = gaps.sum()
        if total <= 0:
            break
        fresh = points[rng.choice(len(points), p=gaps / total)]
        centres = np.concatenate([centres, fresh[None]])
        gaps = np.minimum(gaps, np.square(points - fresh).sum(1))
    for _ in range(10):
        owner = nearest_cell(points, centres)
        sizes = np.bincount(owner, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, owner, points)
        alive = sizes > 0
        centres = sums[alive] / sizes[alive, None].astype(np.float32)
    return np.asarray(centres, np.float32)
