"""64-bit mixing of row numbers and values. Not for secrets: only to spread evenly and always alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
_NULL = np.uint64(0x51ED270B35AE2B1D)


def mix(values: Hashes, salt: int = 0) -> Hashes:
    """Return splitmix64 of each value (Steele et al. 2014), after adding a salt."""
    x = values + np.uint64((salt + 1) * int(_GOLDEN) & 0xFFFFFFFFFFFFFFFF)
    shifted = x >> np.uint64(30)
    x ^= shifted
    x *= _A
    x ^= np.right_shift(x, np.uint64(27), out=shifted)
    x *= _B
    x ^= np.right_shift(x, np.uint64(31), out=shifted)
    return x


def hash_rows(rows: NDArray[np.int64], seed: int) -> Hashes:
    """Return the priority of each row number: the smallest are a uniform sample of the rows."""
    return mix(rows.astype(np.uint64), seed + 1)


def hash_numbers(values: NDArray[np.float64]) -> Hashes:
    """Hash numbers by value: -0.0 is 0.0 and every NaN is one value."""
    clean = np.where(np.isnan(values), np.nan, values + 0.0)
    return mix(np.ascontiguousarray(clean, dtype=np.float64).view(np.uint64))


def hash_texts(values: list[Any] | NDArray[Any]) -> Hashes:
    """Hash texts; give distinct ones only, it is the slow part."""
    from pandas.util import hash_array

    array = np.asarray(values, dtype=object)
    return np.asarray(hash_array(array, categorize=False), dtype=np.uint64) if len(array) else np.empty(0, np.uint64)


def null_hash() -> np.uint64:
    """Return what stands for a missing value."""
    return _NULL
