"""The exploration floor: a small, exactly known share of choices is left to chance, inside all limits.

Without it a log shows only what the policy prefers, and says nothing about any other policy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.routing.forecast import Forecast
from orchestai.routing.optimizer import PlanAssignment, PlanLimits

Mask = npt.NDArray[np.bool_]

_TINY = 1e-12


class Draw(NamedTuple):
    """One choice.

    Attributes:
        chosen: Column of the worker.
        propensities: Probability of each column that might have been chosen, the preferred one's among them.
    """

    chosen: int
    propensities: Mapping[int, float]


def explore(
    found: Forecast,
    preferred: Sequence[int],
    allowed: Mask,
    *,
    value: PlanAssignment,
    limits: PlanLimits,
    share: float,
    margin: float,
    execution_id: str,
) -> list[Draw]:
    """Draw a worker for each sub-task: with probability `share` any eligible one, all alike, else the preferred.

    Eligible is whose success is expected to be within `margin` of the preferred worker's, and who costs no more
    than that or the best single worker. What the plan leaves of its limits is divided equally among the
    sub-tasks, so that all of them may explore at once and the plan still keeps to its limits; that also makes the
    draws independent, and their probabilities exact. The draw is a hash of execution and sub-task: an execution
    that is taken up again chooses the same.

    Args:
        found: What is expected.
        preferred: [S] columns that the policy takes.
        allowed: [S, W] whether a worker may be drawn at all.
        value: What the preferred plan costs at most, and promises.
        limits: What the plan must keep to.
        share: Probability that a sub-task is left to chance.
        margin: Success that may be risked.
        execution_id: Seed of the draws.
    """
    count = len(preferred)
    usd = math.inf if limits.budget_usd is None else max(limits.budget_usd - value.cost_usd, 0.0) / count
    latency = math.inf if limits.max_latency_ms is None else max(limits.max_latency_ms - value.latency_ms, 0.0) / count
    odds = 0.0
    if limits.min_success is not None:
        odds = max(math.log(max(value.success, _TINY)) - math.log(limits.min_success), 0.0) / count
    draws = []
    for row, place in enumerate(preferred):
        bound, success = found.bound_usd[row], found.success[row]
        dearest = bound[place] + usd
        if limits.budget_usd is None and found.base[row] >= 0:
            dearest = max(bound[place], bound[found.base[row]])
        fits = allowed[row] & np.isfinite(bound) & (bound <= dearest + _TINY)
        fits &= success >= success[place] - margin
        fits &= found.latency_ms[row] <= found.latency_ms[row, place] + latency
        if limits.min_success is not None:
            fits &= success >= success[place] * math.exp(-odds) - _TINY
        eligible = sorted({*np.flatnonzero(fits).tolist(), place})
        draws.append(_draw(eligible, place, share, f"{execution_id}:{row}"))
    return draws


def _draw(eligible: Sequence[int], preferred: int, share: float, key: str) -> Draw:
    if len(eligible) == 1 or share == 0:
        return Draw(preferred, {preferred: 1.0})
    each = share / len(eligible)
    propensities = dict.fromkeys(eligible, each)
    propensities[preferred] = 1 - share + each
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    chance, which = (int.from_bytes(digest[start : start + 8], "big") / 2**64 for start in (0, 8))
    chosen = eligible[int(which * len(eligible))] if chance < share else preferred
    return Draw(chosen, propensities)
