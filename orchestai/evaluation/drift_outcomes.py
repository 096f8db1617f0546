"""Did the outcomes change: the success rate, tested at any time, and what a confidence is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from orchestai.contracts.base import Record
from orchestai.errors import InputError

_BINS = 5


class SuccessDrift(Record):
    """The success rate before and after.

    Attributes:
        reference: Executions before.
        current: Executions after.
        before: Share of them that succeeded.
        after: The same of those after.
        e_value: The largest evidence against "nothing changed" at any time so far.
        threshold: At and above it the rate changed; under no change it is ever reached with probability `alpha`.
        pairs: Pairs of executions that were looked at.
        drifted_at: Pair at which the threshold was reached first; null if it was not.
        drifted: Whether it was.
    """

    reference: int
    current: int
    before: float
    after: float
    e_value: float
    threshold: float
    pairs: int
    drifted_at: int | None
    drifted: bool


class CalibrationDrift(Record):
    """What a confidence is worth, before and after.

    Attributes:
        reference: Executions before, with a confidence.
        current: Those after.
        change: Mean absolute change of the success rate at equal confidence, by the rows after.
        p: Probability of such a change by chance (chi-square over bins of equal confidence).
        ece_before: Expected calibration error against success before.
        ece_after: The same after.
        drifted: Large and not by chance.
    """

    reference: int
    current: int
    change: float
    p: float
    ece_before: float
    ece_after: float
    drifted: bool


def success_drift(
    reference: Sequence[bool], current: Sequence[bool], *, alpha: float = 0.01, seed: int = 0
) -> SuccessDrift:
    """Test whether the success rate changed, at any time and however often one looks.

    Executions before and after are paired as they come. The bet on each pair is made before it is seen, with rates
    learned from the pairs before it: the product of the likelihood ratios against "both have the same rate" is an
    e-process (Turner, Ly & Grünwald, arXiv:2106.02693, with blocks of one and one; the common rate is the mean of the
    two, and each is a Beta(1, 1) posterior mean). By Ville's inequality it exceeds 1 / alpha ever with probability
    alpha at most. The order before is drawn at random, so that a trend within the reference is no evidence.

    Args:
        reference: Outcomes before.
        current: Outcomes after, in the order in which they came.
        alpha: Probability of a false alarm, ever.
        seed: Of the order of the reference.

    Raises:
        InputError: A side is empty, or `alpha` is not between 0 and 1.
    """
    if not len(reference) or not len(current):
        raise InputError("Both sides need executions to be compared.")
    if not 0 < alpha < 1:
        raise InputError(f"`alpha` must be between 0 and 1, got {alpha}.")
    before = np.random.default_rng(seed).permutation(np.asarray(reference, bool))
    after = np.asarray(current, bool)
    wins = [1.0, 1.0]
    log_e = best = 0.0
    threshold = 1 / alpha
    drifted_at: int | None = None
    pairs = min(len(before), len(after))
    for place in range(pairs):
        rates = [wins[0] / (place + 2), wins[1] / (place + 2)]
        common = sum(rates) / 2
        for side, outcome in enumerate((before[place], after[place])):
            rate = rates[side]
            log_e += math.log(rate / common) if outcome else math.log((1 - rate) / (1 - common))
            wins[side] += bool(outcome)
        best = max(best, log_e)
        if drifted_at is None and log_e >= math.log(threshold):
            drifted_at = place + 1
    return SuccessDrift(
        reference=len(before),
        current=len(after),
        before=float(before.mean()),
        after=float(after.mean()),
        e_value=math.exp(min(best, 700.0)),
        threshold=threshold,
        pairs=pairs,
        drifted_at=drifted_at,
        drifted=drifted_at is not None,
    )


def calibration_drift(
    reference: Sequence[tuple[float, bool]],
    current: Sequence[tuple[float, bool]],
    *,
    alpha: float = 0.01,
    max_change: float = 0.1,
) -> CalibrationDrift:
    """Compare the success rate at equal confidence.

    A confidence speaks of the plan and not of the execution, so it need not equal the success rate; what matters is
    whether the relation between them stays. Bins hold equally many rows of the reference.

    Args:
        reference: Confidence and success of the executions before.
        current: The same of those after.
        alpha: Error rate of the test.
        max_change: Largest mean change of the success rate.

    Raises:
        InputError: A side is empty.
    """
    from scipy.stats import chi2

    from orchestai.evaluation.metrics import ece

    if not len(reference) or not len(current):
        raise InputError("Both sides need executions with a confidence.")
    sides = [(np.array([c for c, _ in rows]), np.array([s for _, s in rows], bool)) for rows in (reference, current)]
    edges = np.unique(np.quantile(sides[0][0], np.linspace(0, 1, _BINS + 1)[1:-1]))
    statistic, freedom, change, weight = 0.0, 0, 0.0, 0
    bins = [np.searchsorted(edges, confidences, side="right") for confidences, _ in sides]
    for place in range(len(edges) + 1):
        first, second = (success[members == place] for (_, success), members in zip(sides, bins, strict=True))
        if not len(first) or not len(second):
            continue
        difference = second.mean() - first.mean()
        pooled = (first.sum() + second.sum()) / (len(first) + len(second))
        variance = pooled * (1 - pooled) * (1 / len(first) + 1 / len(second))
        change += len(second) * abs(difference)
        weight += len(second)
        if variance > 0:
            statistic += difference**2 / variance
            freedom += 1
    p = float(chi2.sf(statistic, freedom)) if freedom else 1.0
    mean = change / weight if weight else 0.0
    return CalibrationDrift(
        reference=len(reference),
        current=len(current),
        change=mean,
        p=p,
        ece_before=ece(sides[0][0].tolist(), sides[0][1].astype(float)),
        ece_after=ece(sides[1][0].tolist(), sides[1][1].astype(float)),
        drifted=mean > max_change and p < alpha,
    )
