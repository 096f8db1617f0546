"""From a statistic to a score: effects between what healthy draws show and what a destroyed table shows.

`e = clip((T - q95) / (worst - q95), 0, 1)`, score `100 (1 - e)^2`. Effects, not p-values: with enough rows every
difference is significant, and few of them matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.result import DimensionScore, Reading

SATURATED = 0.5
"""A statistic whose healthy draws reach half of its worst value tells nothing on this many rows."""
BEYOND = 0.8
"""Healthy deviations beyond its limit from which a statistic warns: with one chance in twenty for each of eight
dimensions, every third healthy table would. From 1 - 0.05 / k to 1 - 0.05 / 8k it is 0.75 to 0.85 deviations."""


def calibrated(name: str, value: float, null: NDArray[np.float64], worst: float, *, family: int = 1) -> Reading | None:
    """Return the reading of a statistic; None if healthy draws come too near to `worst`.

    Args:
        name: What is measured.
        value: The table's.
        null: Healthy draws (draws,).
        worst: Value of a destroyed table.
        family: Statistics in the same dimension: each may exceed its limit in 5 % / `family` of healthy draws.
    """
    limit = float(np.quantile(null, 1 - 0.05 / family))
    if not math.isfinite(value) or worst <= 0 or limit > SATURATED * worst:
        return None
    effect = float(np.clip((value - limit) / (worst - limit), 0.0, 1.0))
    return Reading(name=name, value=float(value), q95=limit, worst=float(worst), effect=effect, noise=float(null.std()))


def unseen(rng: np.random.Generator, draws: int, rows: int, known: int) -> NDArray[np.float64]:
    """Return the share of events in healthy tables of `rows` rows that `known` rows are too few to rule out (draws,).

    That none was seen does not make the rate zero: it is drawn from its posterior under Jeffreys' prior.
    """
    rate = rng.gamma(0.5, 1.0, draws) / max(known, 1)
    return np.asarray(rng.poisson(rate * rows) / max(rows, 1))


def score_of(effect: float) -> float:
    """Return `100 (1 - e)^2`."""
    return 100.0 * (1.0 - effect) ** 2


def joint_effect(effects: Sequence[float]) -> float:
    """Return `1 - product(1 - e)`: two weak reasons add up, and what has reached its end hides no other."""
    return 1.0 - math.prod(1.0 - effect for effect in effects)


def dimension(
    readings: Sequence[Reading | None],
    *,
    warn: float,
    critical: float,
    nothing: str,
    detail: dict[str, object] | None = None,
    beyond: float = BEYOND,
) -> DimensionScore:
    """Return the score of a dimension: that of its effects together.

    Args:
        readings: Its statistics; None for those that cannot be measured.
        warn: Score below which it warns.
        critical: Score below which it is critical.
        nothing: Why nothing is measured, if nothing is.
        detail: Figures beside the score.
        beyond: Healthy deviations beyond its limit from which one of the statistics warns.
    """
    found = tuple(reading for reading in readings if reading is not None)
    if not found:
        return not_measurable(nothing, detail)
    top = max(found, key=lambda reading: reading.effect)
    score = score_of(joint_effect([reading.effect for reading in found]))
    rare = any(reading.value > reading.q95 + beyond * reading.noise for reading in found)
    status = "critical" if score < critical else "warn" if score < warn and rare else "ok"
    reason = (
        "all within what healthy draws show"
        if top.effect == 0
        else f"{top.name}: {top.value:.4g}, healthy up to {top.q95:.4g}, destroyed {top.worst:.4g}"
    )
    return DimensionScore(score=score, status=status, reason=reason, readings=found, detail=detail or {})


def not_measurable(reason: str, detail: dict[str, object] | None = None) -> DimensionScore:
    """Return a dimension that has no score."""
    return DimensionScore(score=None, status="not_measurable", reason=reason, detail=detail or {})


def combined(scores: Sequence[float]) -> float | None:
    """Return half the mean and half the worst of the scores: eight dimensions must not outvote one that is dead."""
    return (sum(scores) / len(scores) + min(scores)) / 2 if scores else None
