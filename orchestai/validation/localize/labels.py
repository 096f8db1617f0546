"""Labels that the table itself contradicts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suspects(
    own: NDArray[np.float32], best: NDArray[np.float32], rate: float | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return how strongly each label is contradicted, and the labels that are called wrong.

    Where the share of wrong labels was measured against a reference, that many of the most contradicted are named.
    Otherwise confident learning decides (Northcutt et al. 2021, arXiv:1911.00068): a label is wrong where another
    class is at least as likely as it is on average in rows that carry it.

    Args:
        own: Out-of-fold probability of the row's own label (n,), NaN where it has none.
        best: Most likely class, its probability, the row's class (n, 3).
        rate: Share of wrong labels, or None.
    """
    known = np.isfinite(own)
    strength = np.where(known, 1 - own, 0).astype(np.float32)
    top, likely, given = best[:, 0].astype(np.int64), best[:, 1], best[:, 2].astype(np.int64)
    other = known & (top != given)
    named = np.zeros(len(own), bool)
    if rate is not None:
        count = int(min(max(rate, 0.0) * known.sum(), other.sum()))
        candidates = np.flatnonzero(other)
        named[candidates[np.argsort(own[candidates], kind="stable")[:count]]] = True
        return strength, named
    classes = int(max(given.max(initial=0), top.max(initial=0))) + 1
    usual = np.array(
        [own[known & (given == c)].mean() if (known & (given == c)).any() else 1.0 for c in range(classes)]
    )
    named = other & (likely >= usual[top])
    return strength, named
