"""Distribution shift: columns whose values moved, and a classifier that tells the tables apart.

Numbers by Kolmogorov-Smirnov over reference quantiles, categories by total variation. The classifier two-sample
test (Lopez-Paz & Oquab 2017, arXiv:1610.06545) is a ridge discriminant over codes, axes and Fourier features, scored
out of fold, against the same rows dealt at random.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.calibrate import calibrated
from orchestai.validation.columns import CODES, NULL, OTHER, Column
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array, Described

_FOLDS = 3
_WIDEST = 700
_ROWS = 5_000
DEALS = 60


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return the mean and the largest shift of a column, and how well the tables can be told apart."""
    columns = given.encoder.used
    value = column_distances(given.table_summary.columns, given.reference_summary.columns, columns)
    null = given.healthy(
        "column shift",
        (given.table.rows,),
        lambda _: column_distances(given.null_tables.columns, given.null_references.columns, columns),
    )
    top = int(np.argmax(value - np.quantile(null, 0.95, axis=0)))
    table_rows, reference_rows = min(given.table.rows, _ROWS), min(given.reference.rows, _ROWS)
    found, dealt = separability(given.table, given.reference, seed=given.settings.seed)
    formula = 2 * np.sqrt((table_rows + reference_rows + 1) / (12 * table_rows * reference_rows))
    spread = max(formula, float(np.sqrt(np.square(dealt).mean())))
    chance = spread * given.rng(4).standard_normal(2000)
    detail: dict[str, object] = {
        "most_moved": columns[top].name,
        "columns": {columns[place].name: float(value[place]) for place in np.argsort(-value)[:20]},
        "classifier_auc": (found + 1) / 2,
    }
    return [
        calibrated("mean column shift", float(value.mean()), null.mean(-1), 1.0, family=3),
        calibrated(f"shift of {columns[top].name}", float(value.max()), null.max(-1), 1.0, family=3),
        calibrated("classifier two-sample", found, chance, 1.0, family=3),
    ], detail


def column_distances(table: Array, reference: Array, columns: tuple[Column, ...]) -> Array:
    """Return the distance of each column between 0 and 1 (..., columns)."""
    gaps = table - reference
    ordered = np.abs(np.cumsum(gaps[..., :OTHER], axis=-1)).max(-1)
    rest = np.abs(gaps[..., OTHER : NULL + 1]).sum(-1) / 2
    variation = np.abs(gaps).sum(-1) / 2
    is_number = np.array([column.kind in ("number", "text") for column in columns])
    return np.asarray(np.where(is_number, np.maximum(ordered, rest), variation))


def separability(table: Described, reference: Described, *, seed: int) -> tuple[float, Array]:
    """Return how well a discriminant tells table and reference apart, and how well it does if rows are dealt anew.

    Both are twice the out-of-fold area under the ROC curve minus one. The areas of the folds vary together, for each
    fold's rows teach the discriminants of the others: by more than Mann and Whitney's formula says, so that rows are
    dealt to two heaps of these sizes, and the spread is taken from them (`DEALS`,).
    """
    parts = [_limited(table), _limited(reference)]
    y = np.concatenate([np.ones(len(parts[0].codes), bool), np.zeros(len(parts[1].codes), bool)])
    rng = np.random.default_rng(seed)
    x = _rich_features(parts, rng)
    x -= x.mean(0)
    spread = x.std(0)
    x = x[:, spread > 1e-6] / spread[spread > 1e-6]
    deals = np.stack([y, *(rng.permutation(y) for _ in range(DEALS))], axis=1)  # (n, deals + 1)
    fold = rng.permutation(len(y)) % _FOLDS
    areas = np.zeros((_FOLDS, deals.shape[1]))
    for held in range(_FOLDS):
        train, test = fold != held, fold == held
        mine = deals[train]
        # Fisher's direction: from the mean of one heap to that of the other, by the inverse of the joint scatter.
        contrast = (mine / mine.sum(0).clip(1) - ~mine / (~mine).sum(0).clip(1)).astype(np.float32)
        areas[held] = _aucs(x[test] @ _ridge(x[train], contrast), deals[test])
    found = 2 * areas.mean(0) - 1
    return float(found[0]), found[1:]


def _limited(described: Described) -> Described:
    if described.rows <= _ROWS:
        return described
    return described.take(np.arange(_ROWS))  # the sample is in random order already


def _rich_features(parts: list[Described], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one-hot codes, axes, their squares and Fourier features of all rows (n, features)."""
    codes = np.concatenate([part.codes for part in parts])
    points = np.concatenate([part.points for part in parts])
    blocks = [points, np.square(points), np.concatenate([part.kernel for part in parts])]
    frequent = [
        (place, code)
        for place in range(codes.shape[1])
        for code in np.flatnonzero(np.bincount(codes[:, place], minlength=CODES) >= 5)[1:]
    ]
    room = max(_WIDEST - sum(block.shape[1] for block in blocks), 0)
    if len(frequent) > room:
        frequent = [frequent[pick] for pick in np.sort(rng.permutation(len(frequent))[:room])]
    if frequent:
        blocks.append(np.stack([codes[:, place] == code for place, code in frequent], axis=1).astype(np.float32))
    return np.concatenate(blocks, axis=1).astype(np.float32)


def _ridge(x: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ridge coefficients (features, targets); the dual form where there are fewer rows than features."""
    rows, width = x.shape
    penalty = np.float32(0.1 * rows)
    if width <= rows:
        gram = x.T @ x
        gram[np.diag_indices(width)] += penalty
        return np.asarray(np.linalg.solve(gram, x.T @ target), np.float32)
    kernel = x @ x.T
    kernel[np.diag_indices(rows)] += penalty
    return np.asarray(x.T @ np.linalg.solve(kernel, target), np.float32)


def _aucs(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> Array:
    """Return the area under the ROC curve of each column (targets,); 0.5 where there is one class."""
    count = positive.sum(0)
    other = len(positive) - count
    ranks = np.stack([_ranks(scores[:, place]) for place in range(scores.shape[1])], axis=1)
    area = ((ranks * positive).sum(0) - count * (count + 1) / 2) / np.maximum(count * other, 1)
    return np.asarray(np.where(count * other > 0, area, 0.5))


def _ranks(scores: NDArray[np.float32]) -> Array:
    """Return ranks from 1, equal scores with the mean of theirs (n,); `scipy.stats` takes a second to import."""
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(starts[1:], len(ordered))
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks
