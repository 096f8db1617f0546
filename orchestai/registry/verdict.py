"""From observations to a verdict: each metric's evidence for harm, against what its alpha allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from orchestai.config import CanaryConfig
from orchestai.contracts.base import Record
from orchestai.registry.observe import Observation
from orchestai.registry.sequential import Bools, Floats, interval_half, weigh

COST_SPAN = 4.0
"""Costs count up to so many times the reference mean: an outcome must have bounds, and one dear answer is no trend."""


class MetricVerdict(Record):
    """One metric.

    Attributes:
        name: `success`, `cost` (in terms of the champion's mean) or `slow` (above the champion's p95 latency).
        champion: Mean of the champion's side.
        challenger: Mean of the challenger's side.
        difference: Challenger minus champion, weighed by information.
        low: Lower end of its confidence sequence.
        high: Upper end.
        evidence: Largest capital of the bettor on harm so far.
        threshold: Capital that proves harm: one over alpha.
        harm: Whether it was reached.
    """

    name: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    evidence: float
    threshold: float
    harm: bool


class Verdict(Record):
    """What is known of a release.

    Attributes:
        champion_units: Instructions that the champion had.
        challenger_units: Instructions that the challenger had.
        metrics: The metrics, as far as they can be measured.
        harm: Names of the metrics in which harm is proved.
    """

    champion_units: int = 0
    challenger_units: int = 0
    metrics: tuple[MetricVerdict, ...] = ()

    @property
    def harm(self) -> tuple[str, ...]:
        """Names of the metrics in which harm is proved."""
        return tuple(metric.name for metric in self.metrics if metric.harm)


def reach_verdict(observations: Sequence[Observation], canary: CanaryConfig) -> Verdict:
    """Return the verdict on what was observed, in order of time.

    The champion's first `reference_units` instructions fix its p95 latency and its mean cost; what was observed until
    then does not count for these two metrics, so that they are judged by a bound that is known before.
    """
    challenger = np.array([each.challenger for each in observations], dtype=np.bool_)
    units = int(challenger.sum())
    metrics = []
    if observations:
        share = np.array([each.share for each in observations])
        success = np.array([float(each.success) for each in observations])
        cost = np.array([each.cost_usd for each in observations])
        latency = np.array([each.latency_ms for each in observations])
        if "success" in canary.harms:
            metrics.append(_metric("success", success, challenger, share, canary))
        start = reference_end(challenger, canary.reference_units)
        if start is not None and start < len(observations):
            known = ~challenger[:start]
            rest = slice(start, None)
            if "cost" in canary.harms:
                scaled = scale_costs(cost[rest], float(cost[:start][known].mean()))
                metrics.append(_metric("cost", scaled, challenger[rest], share[rest], canary))
            if "slow" in canary.harms:
                slow = (latency[rest] > np.quantile(latency[:start][known], 0.95)).astype(np.float64)
                metrics.append(_metric("slow", slow, challenger[rest], share[rest], canary))
    return Verdict(champion_units=len(observations) - units, challenger_units=units, metrics=tuple(metrics))


def reference_end(challenger: Bools, units: int) -> int | None:
    """Return where the champion has had `units` instructions; None if it has not."""
    place = np.flatnonzero(np.cumsum(~challenger) >= units)
    return int(place[0]) + 1 if len(place) else None


def scale_costs(cost: Floats, mean: float) -> Floats:
    """Return costs between 0 and 1: `COST_SPAN` times the champion's mean and more is 1; free stays free."""
    if mean <= 0:
        return (cost > 0).astype(np.float64)
    return np.minimum(cost / (COST_SPAN * mean), 1.0)


def harm_size(name: str, canary: CanaryConfig) -> float:
    """Return the harm that must not be missed, on the scale of the outcome."""
    size = canary.harms[name].size  # type: ignore[index]
    return size / COST_SPAN if name == "cost" else size


def _metric(name: str, outcome: Floats, challenger: Bools, share: Floats, canary: CanaryConfig) -> MetricVerdict:
    alpha = canary.harms[name].alpha  # type: ignore[index]
    worse = -1 if name == "success" else 1
    evidence = weigh(outcome, challenger, share, harm=harm_size(name, canary), worse=worse)
    enough = np.cumsum(challenger) >= canary.min_units
    largest = float(evidence.log_capital[enough].max()) if enough.any() else -math.inf
    unit = COST_SPAN if name == "cost" else 1.0  # shown as a part of the champion's mean cost
    half = interval_half(float(evidence.information[-1]), alpha) * unit
    difference = float(evidence.difference[-1]) * unit
    return MetricVerdict(
        name=name,
        champion=_mean(outcome[~challenger]) * unit,
        challenger=_mean(outcome[challenger]) * unit,
        difference=difference,
        low=difference - half,
        high=difference + half,
        evidence=math.exp(min(largest, 700.0)),
        threshold=1 / alpha,
        harm=largest >= math.log(1 / alpha),
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
