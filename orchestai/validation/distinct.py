"""How many different values the columns of numbers still have: what is drawn from draws loses some in every round.

A copula, a bootstrap or any sampler of known values keeps each column's distribution and yet forgets: after t rounds
only about 2 / (t + 2) of the values of a continuous column are left, as lineages die out in a population of fixed size
(Kingman 1982). Both sides are brought to the same number of rows by rarefaction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.encode import Encoder
from orchestai.validation.rarefaction import expected_repetition

_FEWEST = 50
DRAWS = 50


def number_features(encoder: Encoder) -> NDArray[np.int64]:
    """Return the features that are the value of a column of numbers (k,)."""
    owners = encoder.feature_columns
    first = np.append(True, owners[1:] != owners[:-1]) if len(owners) else np.zeros(0, bool)
    is_number = np.array([encoder.used[owner].kind == "number" for owner in owners], bool)
    return np.flatnonzero(first & is_number)


def lost_values(table: NDArray[np.float32], reference: NDArray[np.float32]) -> float | None:
    """Return the share of the reference's different values that the table lacks; None if there are too few rows.

    Args:
        table: Values (n, columns).
        reference: Values (m, columns).
    """
    size = min(len(table), len(reference))
    if size < _FEWEST or not table.shape[1]:
        return None
    pairs = [(_counts(table[:, place]), _counts(reference[:, place])) for place in range(table.shape[1])]
    return _lost(pairs, size)


def healthy_losses(reference: NDArray[np.float32], rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return what parts of the reference of at most `rows` rows lack of the rest's values (DRAWS,)."""
    count, columns = reference.shape
    size = min(rows, count // 2)
    if size < _FEWEST or not columns:
        return np.zeros(DRAWS)
    codes = [np.unique(reference[:, place], return_inverse=True)[1] for place in range(columns)]
    found = np.empty(DRAWS)
    for draw in range(DRAWS):
        order = rng.permutation(count)
        mine, rest = order[:size], order[size:]
        found[draw] = _lost([(_filled(np.bincount(c[mine])), _filled(np.bincount(c[rest]))) for c in codes], size)
    return found


def _lost(pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]], size: int) -> float:
    """Compare counts of values of both sides at `size` rows; columns of many values weigh more."""
    left = sum(1 - expected_repetition(mine, size) for mine, _ in pairs)
    wanted = sum(1 - expected_repetition(theirs, size) for _, theirs in pairs)
    return float(1 - left / max(wanted, 1e-9))


def _counts(values: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.unique(values, return_counts=True)[1].astype(np.int64)


def _filled(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return counts[counts > 0]
