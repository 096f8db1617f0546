"""Labels that the table itself contradicts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLACK, _TWO_CLASSES = 0.3, 0.3


def suspects(
    own: NDArray[np.float32], best: NDArray[np.float32], rate: float | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return how strongly each label is contradicted, and the labels that are called wrong.

    Where the share of wrong labels was measured against a reference, that many of the most contradicted are named.
    Otherwise a label is called wrong if it has less than `0.3 + 0.3 / (k - 1)` of the probability of the most likely
    of k classes: a wrong label is one of k - 1 others, so that the same doubt means more where there are few. The
    per-class averages of confident learning (Northcutt et al. 2021) name fewer of the wrong ones at equal precision.

    Args:
        own: Out-of-fold probability of the row's own label (n,), NaN where it has none.
        best: Most likely class, its probability, the row's class (n, 3).
        rate: Share of wrong labels, or None.
    """
    known = np.isfinite(own)
    strength = np.where(known, 1 - own, 0).astype(np.float32)
    top, likely, given = best[:, 0].astype(np.int64), best[:, 1], best[:, 2].astype(np.int64)
    other = known & (top != given)
    if rate is not None:
        named = np.zeros(len(own), bool)
        count = int(min(max(rate, 0.0) * known.sum(), other.sum()))
        candidates = np.flatnonzero(other)
        named[candidates[np.argsort(own[candidates], kind="stable")[:count]]] = True
        return strength, named
    classes = max(int(max(given.max(initial=1), top.max(initial=1))) + 1, 2)
    limit = _SLACK + _TWO_CLASSES / (classes - 1)
    return strength, other & (own < limit * likely)
