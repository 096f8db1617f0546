"""95 % intervals by bootstrap (Efron & Tibshirani 1993, percentile method), whole groups drawn together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RESAMPLES = 2000


def bootstrap_mean(
    values: Floats, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Return the mean of `values` with its 95 % interval, as `mean`, `low`, `high`.

    Whole groups are drawn, because instances of one template are right or wrong together; drawing them one
    by one would make the interval too narrow. Where there is one group only, its rows are drawn: drawn whole it
    would always give the same, and the interval would claim a certainty that nobody has.

    Args:
        values: [N] scores, or differences of scores on the same samples.
        groups: [N] names; a sample without group has a name of its own.
        resamples: Draws.
        seed: Of the draws.
    """
    codes = {name: code for code, name in enumerate(dict.fromkeys(groups))}
    member = np.array([codes[name] for name in groups])
    if len(codes) == 1:
        member, codes = np.arange(len(values)), {str(row): row for row in range(len(values))}
    sums = np.bincount(member, weights=values, minlength=len(codes))  # (G,)
    sizes = np.bincount(member, minlength=len(codes))  # (G,)
    draws = np.random.default_rng(seed).integers(0, len(codes), size=(resamples, len(codes)))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}
