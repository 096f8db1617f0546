"""How much repetition to expect in a draw of a given size, from how often each value was seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expected_repetition(counts: NDArray[np.int64], rows: int) -> float:
    """Return the share of repeated rows to expect among `rows` rows drawn from where `counts` came from.

    Args:
        counts: Occurrences of each distinct row of the reference (groups,).
        rows: Size of the draw.
    """
    total = int(counts.sum())
    if rows <= 1 or not total:
        return 0.0
    # Groups of equal size behave alike: there are few sizes.
    sizes, groups = np.unique(counts, return_counts=True)
    if rows <= total:  # rarefaction (Hurlbert 1971): chance that no row of a group is drawn
        from scipy.special import gammaln

        with np.errstate(invalid="ignore"):
            left = total - sizes
            missed = np.where(
                left >= rows,
                np.exp(
                    gammaln(left + 1.0)
                    - gammaln(np.maximum(left - rows, 0) + 1.0)
                    - gammaln(total + 1.0)
                    + gammaln(total - rows + 1.0)
                ),
                0.0,
            )
        distinct = float((groups * (1 - missed)).sum())
    else:  # rows seen once stand for rare ones, which go on being new at the same rate
        once = sizes == 1
        share = sizes / total
        repeated = (groups * -np.expm1(rows * np.log1p(-share.clip(max=1 - 1e-12))))[~once].sum()
        distinct = float(repeated + groups[once].sum() * rows / total)
    return max(0.0, 1.0 - distinct / rows)
