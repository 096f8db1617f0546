"""Intervals for means of heavy-tailed terms: studentised bootstrap by group, and empirical Bernstein."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.evaluation.routing import Interval

Array = npt.NDArray[np.float64]

RESAMPLES = 1000
_BLOCK = 2**22  # numbers of the draws in memory at a time


def ratio_intervals(
    pairs: Sequence[tuple[Array, Array]],
    groups: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Return ratios of sums with bootstrap-t intervals (Efron & Tibshirani 1993, sec. 12.5), all by the same draws.

    Groups are drawn whole. Each draw is studentised by its own standard error (linearised ratio), because the
    plain percentile bootstrap is too short for terms as skewed as importance weights make them.

    Args:
        pairs: [N] numerators and [N] denominators of each: ones for a mean, weights for a self-normalised one.
        groups: [N] names.
        confidence: Of each interval.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        The ratios with their bounds; bounds are infinite where one group is all there is.
    """
    codes = {name: code for code, name in enumerate(dict.fromkeys(groups))}
    member = np.array([codes[name] for name in groups])
    count = len(codes)
    totals = [tuple(np.bincount(member, weights=side, minlength=count) for side in pair) for pair in pairs]
    sides = np.stack(  # (G, 5 P): what ratio and standard error of a draw are made of
        [each for top, under in totals for each in (top, under, top**2, top * under, under**2)], axis=1
    )
    whole, error = _ratios(np.ones((1, count)) @ sides)
    if count < 2:
        return [Interval(float(ratio), -math.inf, math.inf) for ratio in whole[0]]
    generator = np.random.default_rng(seed)
    # Many groups are alike (same kind, same worker, same reward): alike ones are drawn together, which is the same.
    kinds, alike = np.unique(sides, axis=0, return_counts=True)
    block = max(1, _BLOCK // len(kinds))
    drawn = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn.append(generator.multinomial(count, alike / count, size) @ kinds)
    means, errors = _ratios(np.concatenate(drawn))
    tail = (1 - confidence) / 2
    found = []
    for place, ratio in enumerate(whole[0]):
        usable = errors[:, place] > 0
        pulls = (means[usable, place] - ratio) / errors[usable, place] if usable.any() else np.zeros(1)
        lower, upper = np.quantile(pulls, [tail, 1 - tail])
        reach = error[0, place]
        found.append(Interval(float(ratio), float(ratio - upper * reach), float(ratio - lower * reach)))
    return found


def empirical_bernstein(values: Array, *, width: float, confidence: float = 0.95) -> Interval:
    """Return a mean with an interval that holds for every number of values, not only in the limit.

    Theorem 4 of Maurer & Pontil 2009 (arXiv:0907.3740), both sides, so that each has half of the risk.

    Args:
        values: [N] independent terms.
        width: Greatest minus least value that a term can have, known beforehand: for importance weights, the
            greatest weight times the range of the reward.
        confidence: Of the interval.
    """
    count = len(values)
    if count < 2:
        return Interval(float(values.mean()) if count else float("nan"), -math.inf, math.inf)
    risk = math.log(4 / (1 - confidence))
    reach = math.sqrt(2 * float(values.var(ddof=1)) * risk / count) + 7 * width * risk / (3 * (count - 1))
    mean = float(values.mean())
    return Interval(mean, mean - reach, mean + reach)


def _ratios(sums: Array) -> tuple[Array, Array]:
    """Return [B, P] ratios and [B, P] standard errors of sums [B, 5 P]."""
    top, under, top2, both, under2 = (sums[:, place::5] for place in range(5))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(under > 0, top / under, 0.0)
        spread = top2 - 2 * ratio * both + ratio**2 * under2
        error = np.where(under > 0, np.sqrt(np.maximum(spread, 0.0)) / under, 0.0)
    return ratio, error
