"""What a success predictor and a router are worth: ranking, calibration, paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_BINS = 15
_DRAWS = 2000


class Interval(NamedTuple):
    """A mean with its bounds."""

    mean: float
    low: float
    high: float


def auc(predicted: Array, scores: Array, *, accepted: float = 0.5) -> float:
    """Area under the ROC curve over (sub-task, worker) pairs; a score above `accepted` counts as a success.

    NaN where all are successes or none is. Ties count half (Mann-Whitney).
    """
    positive = scores > accepted
    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return float("nan")
    values, inverse, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    upto = np.cumsum(counts)
    ranks = (upto - (counts - 1) / 2)[inverse]
    del values
    return float((ranks[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def expected_calibration_error(predicted: Array, scores: Array, *, bins: int = _BINS) -> float:
    """Mean distance between predicted and measured success over equally wide bins (arXiv:1706.04599 eq. 3)."""
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    total = 0.0
    for number in range(bins):
        inside = place == number
        if inside.any():
            total += abs(float(predicted[inside].mean() - scores[inside].mean())) * float(inside.mean())
    return total


def calibration_bins(predicted: Array, scores: Array, *, bins: int = _BINS) -> list[tuple[float, float, int]]:
    """Return mean prediction, mean score and count of each equally wide bin that is not empty."""
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    inside = [place == number for number in range(bins)]
    return [
        (float(predicted[rows].mean()), float(scores[rows].mean()), int(rows.sum())) for rows in inside if rows.any()
    ]


def paired_interval(differences: Array, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean of paired differences with a bootstrap interval."""
    values = differences[~np.isnan(differences)]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    draws = values[generator.integers(0, len(values), (_DRAWS, len(values)))].mean(1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high))


def simultaneous_intervals(groups: Sequence[Array], *, confidence: float = 0.95) -> list[Interval]:
    """Mean of each group with normal intervals that hold together (Bonferroni over the groups).

    A group whose values are all alike has no spread and hence a point.
    """
    from statistics import NormalDist

    reach = NormalDist().inv_cdf(1 - (1 - confidence) / (2 * max(len(groups), 1)))
    found = []
    for group in groups:
        values = group[~np.isnan(group)]
        if not len(values):
            found.append(Interval(float("nan"), float("nan"), float("nan")))
            continue
        mean = float(values.mean())
        error = float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("inf")
        found.append(Interval(mean, mean - reach * error, mean + reach * error))
    return found
