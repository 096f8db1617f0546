"""The value of a policy on somebody else's log, with an interval, or the reason why it cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orchestai.contracts.base import Record
from orchestai.evaluation.off_policy.intervals import ratio_intervals
from orchestai.evaluation.off_policy.reward_model import cross_fitted
from orchestai.evaluation.off_policy.rows import LoggedExecution, TargetPolicy
from orchestai.evaluation.off_policy.weights import (
    Support,
    Wishes,
    support,
    unusable_propensities,
    wishes_of,
)
from orchestai.evaluation.routing import Interval

Array = npt.NDArray[np.float64]

_SIGMAS = 4.0
_EXPLORE = "Let the policy explore (`routing.exploration`, 2 % by default), and log its propensities."


class SupportLimits(Record):
    """What a log must have before it speaks for another policy.

    Attributes:
        least_ess: Least effective sample size; below it intervals do not hold what they promise (lab log).
        most_missing: Greatest share of the target's choices that may lie where the log has nothing. The interval
            grows by that share, for there every reward is possible.
    """

    least_ess: float = Field(default=50.0, gt=0)
    most_missing: float = Field(default=0.01, ge=0, lt=1)


class OffPolicyEstimate(Record):
    """What a policy would have earned an execution.

    Attributes:
        value: Doubly robust estimate; None where it is not measurable.
        low: Lower bound.
        high: Upper bound.
        measurable: Whether the log supports the policy.
        reason: Why not, and what to do; empty where it does.
        ess: Effective sample size.
        executions: Executions that were used.
        mean_weight: Mean importance weight; 1 where the log supports the policy.
        missing: Share of the policy's choices that lie where the log has nothing.
        ips: Inverse propensity score, as value, low, high; None where not measurable.
        snips: Self-normalised inverse propensity score, likewise.
        confidence: Of the intervals.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    measurable: bool = False
    reason: str = ""
    ess: float = 0.0
    executions: int = 0
    mean_weight: float = 0.0
    missing: float = 0.0
    ips: tuple[float, float, float] | None = None
    snips: tuple[float, float, float] | None = None
    confidence: float = 0.95


def estimate(
    rows: Sequence[LoggedExecution],
    target_policy: TargetPolicy,
    *,
    limits: SupportLimits | None = None,
    reward_range: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
    folds: int = 5,
    seed: int = 0,
) -> OffPolicyEstimate:
    """Estimate the mean reward of `target_policy` on the executions of another policy.

    `value` is doubly robust (Dudik, Langford & Li 2011, arXiv:1103.4601 eq. 3) with a cross-fitted additive reward
    model; `ips` and `snips` (Swaminathan & Joachims 2015, eq. 9) stand beside it. The weight of an execution is
    the product over its sub-tasks. Weights are not clipped. Intervals are bootstrap-t by group of executions.

    Args:
        rows: The log (see `read_logged`).
        target_policy: Who is asked.
        limits: What counts as support.
        reward_range: Least and greatest reward that there can be.
        confidence: Of the intervals.
        folds: Of the cross-fitting.
        seed: Of the bootstrap.

    Raises:
        InputError: The policy gives no distribution over workers.
    """
    return _estimate(rows, target_policy, None, limits, reward_range, confidence, folds, seed)


def estimate_gain(
    rows: Sequence[LoggedExecution],
    target_policy: TargetPolicy,
    baseline: TargetPolicy | None = None,
    *,
    limits: SupportLimits | None = None,
    reward_range: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
    folds: int = 5,
    seed: int = 0,
) -> OffPolicyEstimate:
    """Estimate by how much `target_policy` beats `baseline`, paired on the same executions.

    Args:
        rows: The log.
        target_policy: Who is asked.
        baseline: Against whom; None means the policy that made the log.
        limits: What counts as support, for both.
        reward_range: Least and greatest reward that there can be.
        confidence: Of the interval.
        folds: Of the cross-fitting.
        seed: Of the bootstrap.

    Returns:
        As `estimate`, with differences in `value`, `low`, `high`, `ips`; `snips` is None.

    Raises:
        InputError: A policy gives no distribution over workers.
    """
    return _estimate(rows, target_policy, baseline or "logged", limits, reward_range, confidence, folds, seed)


def _estimate(
    rows: Sequence[LoggedExecution],
    target: TargetPolicy,
    baseline: TargetPolicy | str | None,
    limits: SupportLimits | None,
    reward_range: tuple[float, float],
    confidence: float,
    folds: int,
    seed: int,
) -> OffPolicyEstimate:
    bounds = limits or SupportLimits()
    asked = [target] if baseline is None or isinstance(baseline, str) else [target, baseline]
    if (reason := _unreadable(rows)) is not None:
        return OffPolicyEstimate(reason=reason, executions=len(rows), confidence=confidence)
    wishes = [wishes_of(rows, policy) for policy in asked]
    found = [support(rows, each) for each in wishes]
    facts = {
        "ess": min(each.ess for each in found),
        "executions": len(rows),
        "mean_weight": float(found[0].weights.mean()),
        "missing": max(float(each.missing.mean()) for each in found),
        "confidence": confidence,
    }
    if (reason := next(filter(None, (_unsupported(each, bounds) for each in found)), None)) is not None:
        return OffPolicyEstimate(reason=reason, **facts)
    rewards = np.array([row.reward for row in rows])
    scores = _doubly_robust(rows, rewards, wishes, found, folds)
    weighted = [each.weights * rewards for each in found]
    ones, groups = np.ones(len(rows)), [row.group for row in rows]
    least, most = reward_range
    if baseline is not None:
        before = (rewards, rewards) if len(asked) == 1 else (scores[1], weighted[1])
        scores[0], weighted[0] = scores[0] - before[0], weighted[0] - before[1]
        least, most = least - most, most - least

    pairs = [(scores[0], ones), (weighted[0], ones), (weighted[0], found[0].weights)]
    intervals = ratio_intervals(pairs, groups, confidence=confidence, seed=seed)
    robust, ips, snips = (_bounded(each, float(facts["missing"]), least, most) for each in intervals)
    return OffPolicyEstimate(
        value=robust[0],
        low=robust[1],
        high=robust[2],
        measurable=True,
        ips=ips,
        snips=snips if baseline is None else None,
        **facts,
    )


def _doubly_robust(
    rows: Sequence[LoggedExecution], rewards: Array, wishes: Sequence[Wishes], found: Sequence[Support], folds: int
) -> list[Array]:
    done, would = cross_fitted(rows, rewards, wishes, folds=folds)
    return [expected + each.weights * (rewards - done) for expected, each in zip(would, found, strict=True)]


def _unreadable(rows: Sequence[LoggedExecution]) -> str | None:
    if not rows:
        return f"Not measurable: the log has no execution whose workers were drawn. {_EXPLORE}"
    if unusable := unusable_propensities(rows):
        return (
            f"Not measurable: {unusable} of {len(rows)} executions have a propensity that is missing or zero. "
            "Leave out whole kinds of executions that were never drawn (as `read_logged` does), "
            "never single ones by what came of them."
        )
    return None


def _unsupported(found: Support, limits: SupportLimits) -> str | None:
    weights, missing = found.weights, float(found.missing.mean())
    if missing > limits.most_missing:
        where = ", ".join(f"{worker} for {kind}" for kind, worker in found.absent)
        return (
            f"Not measurable: {missing:.1%} of the policy's choices go where the log never went ({where}); "
            f"at most {limits.most_missing:.1%} may. {_EXPLORE}"
        )
    ess = found.ess
    if ess < limits.least_ess:
        more = f"about {limits.least_ess / ess:.0f} times as many executions" if ess > 0 else "executions that do"
        return (
            f"Not measurable: the {len(weights)} executions tell as much of this policy as {ess:.0f} of its own would; "
            f"{limits.least_ess:.0f} are needed. Log {more}, or explore more."
        )
    mean = float(weights.mean())
    # Few large weights make mean and standard error small together: it is put back to what it is at the mean 1.
    error = float(weights.std(ddof=1)) / (len(weights) * min(mean, 1.0)) ** 0.5
    if abs(mean - 1) > _SIGMAS * error + limits.most_missing:
        return (
            f"Not measurable: the weights have the mean {mean:.3f}, and with the logged propensities it must "
            f"be 1 (standard error {error:.3f}): the propensities are not those of the choices, or some choices were "
            "never possible. Check who writes them."
        )
    return None


def _bounded(interval: Interval, missing: float, least: float, most: float) -> tuple[float, float, float]:
    """Widen by what the log cannot know, and keep to what rewards can be."""
    slack = missing * (most - least) if missing else 0.0  # rewards may have no bounds
    low, high = interval.low - slack, interval.high + slack
    return tuple(float(min(max(each, least), most)) for each in (interval.mean, low, high))  # type: ignore[return-value]
