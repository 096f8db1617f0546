"""Promotion gates: what a candidate must prove, each with what was observed and what is allowed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from pydantic import model_validator

from orchestai.config import GatesConfig
from orchestai.contracts.base import Record

GATES = ("quality", "families", "off_policy", "calibration", "latency", "cost", "dag_validity")
"""All gates, in the order in which they are shown."""

_RESAMPLES = 4000


class Compared(Record):
    """One planner on the held-out rows; all tuples are one entry a row.

    Attributes:
        quality: 0..1.
        confidences: What it believed of each plan; null where it has no confidence.
        right: Whether the plan was the gold one.
        latency_ms: Time of planning.
        cost_usd: Expected price of the planned work.
        needed: How many of the planned sub-tasks the gold plan has too.
        valid: Whether the plan could be run.
    """

    quality: tuple[float, ...]
    confidences: tuple[float | None, ...]
    right: tuple[bool, ...]
    latency_ms: tuple[float, ...]
    cost_usd: tuple[float, ...]
    needed: tuple[int, ...]
    valid: tuple[bool, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        lengths = {len(value) for _, value in self}
        if len(lengths) != 1:
            raise ValueError(f"All tuples must have one entry a row, got {sorted(lengths)} entries.")
        return self


class OffPolicyEvidence(Record):
    """An estimate from logged executions of what the candidate would have reached, minus the champion, in points.

    Attributes:
        measurable: Whether the logs support the estimate.
        difference: Points of success; null if not measurable.
        low: Lower end of its 95 % interval.
        high: Upper end.
        why: How it was estimated, or why it cannot be.
    """

    measurable: bool
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


class GateEvidence(Record):
    """What is known of a candidate.

    Attributes:
        candidate: The candidate on the held-out rows.
        baseline: What it has to hold up against on the same rows.
        baseline_name: `champion 4`, or `rules` where there is no champion.
        groups: Group of each row; rows of one group are right or wrong together.
        families: Family of each row.
        off_policy: Estimate from the logs, where somebody made one.
    """

    candidate: Compared
    baseline: Compared
    baseline_name: str
    groups: tuple[str, ...]
    families: tuple[str, ...]
    off_policy: OffPolicyEvidence | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        rows = {len(self.candidate.quality), len(self.baseline.quality), len(self.groups), len(self.families)}
        if len(rows) != 1 or 0 in rows:
            raise ValueError(f"Candidate, baseline, groups and families must have the same rows, got {sorted(rows)}.")
        return self


class GateResult(Record):
    """One gate.

    Attributes:
        gate: Its name.
        observed: What was measured, in words.
        allowed: What the configuration asks.
        passed: Whether it was met.
        why: What the numbers rest on.
    """

    gate: str
    observed: str
    allowed: str
    passed: bool
    why: str = ""


class GateReport(Record):
    """All gates that are switched on.

    Attributes:
        results: One a gate.
        rows: Held-out rows that they rest on.
        baseline: What the candidate was held against.
    """

    results: tuple[GateResult, ...]
    rows: int
    baseline: str

    @property
    def passed(self) -> bool:
        """Whether every gate was met."""
        return all(result.passed for result in self.results)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Names of the gates that were not met."""
        return tuple(result.gate for result in self.results if not result.passed)


def evaluate_gates(evidence: GateEvidence, gates: GatesConfig) -> GateReport:
    """Return what became of each gate; a refusal is a result."""
    return GateReport(
        results=tuple(_results(evidence, gates)),
        rows=len(evidence.groups),
        baseline=evidence.baseline_name,
    )


def _results(evidence: GateEvidence, gates: GatesConfig) -> Iterator[GateResult]:
    ours, theirs = evidence.candidate, evidence.baseline
    difference = 100 * (np.array(ours.quality) - np.array(theirs.quality))
    rows = f"{len(difference)} held-out rows, paired with {evidence.baseline_name}"
    if gates.quality_lower_bound is not None:
        mean, low = _mean_and_low(difference, evidence.groups, 0.025)
        yield GateResult(
            gate="quality",
            observed=f"{mean:+.2f} points, at least {low:+.2f}",
            allowed=f"at least {gates.quality_lower_bound:+.2f} points",
            passed=low >= gates.quality_lower_bound,
            why=f"lower end of the 95 % interval over {rows}",
        )
    if gates.family_lower_bound is not None:
        yield _families(evidence, difference, gates.family_lower_bound, gates.family_min_rows)
    if gates.off_policy_lower_bound is not None:
        yield _off_policy(evidence.off_policy, gates.off_policy_lower_bound, gates.off_policy_max_width)
    if gates.calibration_max_increase is not None:
        yield _calibration(ours, theirs, gates.calibration_max_increase)
    yield from _latency(ours, theirs, gates)
    if gates.cost_max_ratio is not None:
        mine, base = _price(ours), _price(theirs)
        yield GateResult(
            gate="cost",
            observed=f"${mine:.6f} a needed sub-task",
            allowed=f"at most ${gates.cost_max_ratio * base:.6f} ({gates.cost_max_ratio:g} times ${base:.6f})",
            passed=mine <= gates.cost_max_ratio * base + 1e-12,
            why=f"expected price of all planned work by sub-task that the gold plan has too, {rows}",
        )
    if gates.dag_validity_min is not None:
        valid = 100 * float(np.mean(ours.valid))
        yield GateResult(
            gate="dag_validity",
            observed=f"{valid:.1f} %",
            allowed=f"at least {gates.dag_validity_min:.1f} %",
            passed=valid >= gates.dag_validity_min,
            why="plans that are acyclic, connected to known types and can be run",
        )


def _families(evidence: GateEvidence, difference: np.ndarray, bound: float, min_rows: int) -> GateResult:
    """A family regresses if its mean is below the bound beyond chance: one-sided 5 %, shared by the families.

    Small families are noisy: to demand that each proves to be above the bound would refuse every candidate.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, family in enumerate(evidence.families):
        places[family].append(place)
    judged = {name: found for name, found in places.items() if len(found) >= min_rows}
    level = 0.05 / max(len(judged), 1)
    worse = []
    lowest = ("", 0.0)
    for name, found in sorted(judged.items()):
        values = difference[found]
        high = _mean_and_high(values, [evidence.groups[place] for place in found], level)
        mean = float(values.mean())
        lowest = min(lowest, (name, mean), key=lambda each: each[1]) if lowest[0] else (name, mean)
        # Losing the bound in the mean, and surely losing something, is a regression.
        if mean < bound and high < 0:
            worse.append(f"{name} {mean:+.1f}")
    observed = "worse: " + ", ".join(worse) if worse else f"lowest {lowest[0]} {lowest[1]:+.1f} points"
    return GateResult(
        gate="families",
        observed=observed if judged else f"no family has {min_rows} rows",
        allowed=f"no family below {bound:+.1f} points and surely worse",
        passed=not worse,
        why=f"{len(judged)} of {len(places)} families have at least {min_rows} rows; intervals hold for all together",
    )


def _off_policy(found: OffPolicyEvidence | None, bound: float, width: float) -> GateResult:
    allowed = f"at least {bound:+.2f} points where measurable"
    if found is None or not found.measurable or found.low is None or found.difference is None:
        why = found.why if found is not None and found.why else "nobody made an estimate"
        return GateResult(gate="off_policy", observed="not measurable", allowed=allowed, passed=True, why=why)
    if found.high is not None and found.high - found.low > width and found.high >= bound:
        return GateResult(
            gate="off_policy",
            observed=f"not measurable: between {found.low:+.2f} and {found.high:+.2f} points",
            allowed=allowed,
            passed=True,
            why=f"an interval of more than {width:g} points cannot tell; {found.why}",
        )
    return GateResult(
        gate="off_policy",
        observed=f"{found.difference:+.2f} points, at least {found.low:+.2f}",
        allowed=allowed,
        passed=found.low >= bound,
        why=found.why,
    )


def _calibration(ours: Compared, theirs: Compared, increase: float) -> GateResult:
    mine, base = _ece(ours), _ece(theirs)
    if mine is None or base is None:
        who = "the candidate" if mine is None else "the baseline"
        return GateResult(
            gate="calibration",
            observed="not measurable" if mine is None else f"{mine:.1f} points",
            allowed=f"at most {increase:.1f} points more than the baseline",
            passed=True,
            why=f"{who} states no confidence",
        )
    return GateResult(
        gate="calibration",
        observed=f"{mine:.1f} points",
        allowed=f"at most {base + increase:.1f} points ({increase:.1f} more than {base:.1f})",
        passed=mine <= base + increase,
        why="mean distance between confidence and share of right plans, over tenths of the rows",
    )


def _latency(ours: Compared, theirs: Compared, gates: GatesConfig) -> Iterator[GateResult]:
    limits = []
    base = float(np.quantile(theirs.latency_ms, 0.95))
    if gates.latency_max_ms is not None:
        limits.append(gates.latency_max_ms)
    # Faster than 5 ms is as good as 5 ms: the rules plan in less than any network, and nobody waits for it.
    if gates.latency_max_ratio is not None and base >= 5.0:
        limits.append(gates.latency_max_ratio * base)
    if limits:
        mine = float(np.quantile(ours.latency_ms, 0.95))
        yield GateResult(
            gate="latency",
            observed=f"{mine:.1f} ms",
            allowed=f"at most {min(limits):.1f} ms",
            passed=mine <= min(limits),
            why=f"95th percentile of the time of planning; the baseline takes {base:.1f} ms",
        )


def _ece(found: Compared) -> float | None:
    """Expected calibration error in points, over tenths of equal size (Nixon et al. 2019, adaptive bins)."""
    if any(confidence is None for confidence in found.confidences):
        return None
    confidences = np.array([float(confidence or 0.0) for confidence in found.confidences])
    right = np.array(found.right, dtype=np.float64)
    order = np.argsort(confidences, kind="stable")
    bins = np.array_split(order, min(10, len(order)))
    return 100 * float(
        sum(len(part) * abs(confidences[part].mean() - right[part].mean()) for part in bins) / len(order)
    )


def _price(compared: Compared) -> float:
    """Dollars a needed sub-task: who leaves work out is not cheaper for it, and work that nobody needs makes dearer."""
    return sum(compared.cost_usd) / needed if (needed := sum(compared.needed)) else math.inf


def _mean_and_low(values: np.ndarray, groups: Sequence[str], level: float) -> tuple[float, float]:
    return float(values.mean()), float(np.quantile(_resampled(values, groups), level))


def _mean_and_high(values: np.ndarray, groups: Sequence[str], level: float) -> float:
    return float(np.quantile(_resampled(values, groups), 1 - level))


def _resampled(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Means of draws of whole groups, as `evaluation.intervals.bootstrap_mean` has them, for any level."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(groups))}
    member = np.array([codes[name] for name in groups])
    if len(codes) == 1:
        member, codes = np.arange(len(values)), {str(row): row for row in range(len(values))}
    sums = np.bincount(member, weights=values, minlength=len(codes))
    sizes = np.bincount(member, minlength=len(codes))
    draws = np.random.default_rng(0).integers(0, len(codes), size=(_RESAMPLES, len(codes)))
    return np.asarray(sums[draws].sum(axis=1) / sizes[draws].sum(axis=1))
