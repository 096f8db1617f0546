"""Releases played many times: how often harm is seen where there is none, and missed where there is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.config import CanaryConfig
from orchestai.registry.sequential import weigh
from orchestai.registry.verdict import harm_size, reference_end, scale_costs

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BASE_SUCCESS = 0.8
HARM_POINTS = 5.0
WITHIN = 2000
_CHUNK = 50


class Played(NamedTuple):
    """What became of the releases.

    Attributes:
        alarm_requests: Instructions of both sides until the rollback; infinite without one.
        alarm_units: The challenger's instructions until then; infinite without a rollback.
    """

    alarm_requests: Floats  # (R,)
    alarm_units: Floats  # (R,)


def play(canary: CanaryConfig, *, runs: int, seed: int, success: tuple[float, float], holdback: bool) -> Played:
    """Play releases through all stages.

    Costs and times are log-normal and the same on both sides. An instruction is looked at as soon as it is there.

    Args:
        canary: Stages, alphas and sizes of harm, as in production.
        runs: Releases.
        seed: Of all draws.
        success: Probability of an accepted answer of champion and challenger.
        holdback: Whether to go on through the holdback after the last stage.
    """
    generator = np.random.default_rng(seed)
    requests, units = [], []
    for start in range(0, runs, _CHUNK):
        size = min(_CHUNK, runs - start)
        treated, share = _sides(canary, generator, size, holdback=holdback)
        accepted = generator.random(treated.shape) < np.where(treated, success[1], success[0])
        evidence = _log_alarm(accepted.astype(np.float64), treated, share, "success", canary)
        cost = generator.lognormal(-5.0, 1.0, treated.shape)
        latency = generator.lognormal(7.0, 0.7, treated.shape)
        begin = [reference_end(row, canary.reference_units) or treated.shape[1] for row in treated]
        scaled, slow = np.zeros_like(cost), np.zeros_like(cost)
        for row, at in enumerate(begin):
            known = ~treated[row, :at]
            scaled[row] = scale_costs(cost[row], float(cost[row, :at][known].mean()))
            slow[row] = latency[row] > np.quantile(latency[row, :at][known], 0.95)
        for name, outcome in (("cost", scaled), ("slow", slow)):
            if name in canary.harms:
                # The references end at about the same place in every run; the latest of them is right for all.
                late = max(begin)
                part = _log_alarm(outcome[:, late:], treated[:, late:], share[:, late:], name, canary)
                evidence[:, late:] = np.maximum(evidence[:, late:], part)
        served = np.cumsum(treated, axis=1)
        alarm = (evidence >= 0) & (served >= canary.min_units)
        any_alarm = alarm.any(axis=1)
        first = alarm.argmax(axis=1)
        requests.append(np.where(any_alarm, first + 1.0, np.inf))
        units.append(np.where(any_alarm, served[np.arange(size), first], np.inf))
    return Played(np.concatenate(requests), np.concatenate(units))


def simulate(*, runs: int = 2000, seed: int = 0, canary: CanaryConfig | None = None) -> dict[str, Any]:
    """Return the figures of the release's test.

    `missed_harm_rate` counts the challenger's instructions: those are at risk. With 2,000 instructions of both sides
    together no test can do it: `best_power_within_total` is that of the most powerful one (fixed size, half and half,
    2.5 %, normal approximation).
    """
    canary = canary or CanaryConfig()
    harmed = (BASE_SUCCESS, BASE_SUCCESS - HARM_POINTS / 100)
    null = play(canary, runs=runs, seed=seed, success=(BASE_SUCCESS, BASE_SUCCESS), holdback=True)
    harm = play(canary, runs=runs, seed=seed + 1, success=harmed, holdback=False)
    missed = harm.alarm_units > WITHIN
    return {
        "requests_to_rollback": float(np.median(harm.alarm_requests)),
        "challenger_requests_to_rollback": float(np.median(harm.alarm_units)),
        "false_rollback_rate": float(np.isfinite(null.alarm_units).mean()),
        "designed_false_rollback_rate": sum(each.alpha for each in canary.harms.values()),
        "missed_harm_rate": float(missed.mean()),
        "missed_harm_rate_95": _wilson(int(missed.sum()), runs),
        "missed_within_total_requests": float((harm.alarm_requests > WITHIN).mean()),
        "best_power_within_total": _best_power(*harmed, WITHIN),
        "runs": runs,
    }


def _sides(canary: CanaryConfig, generator: np.random.Generator, runs: int, *, holdback: bool) -> tuple[Bools, Floats]:
    """Return sides and shares; a stage ends when the challenger has had its instructions, as in production."""
    shares = [(stage.share, stage.units) for stage in canary.stages]
    lengths = [_length(units, share) for share, units in shares]
    if holdback and canary.holdback_share > 0:
        lengths.append(round(canary.holdback_units / canary.holdback_share))
        shares.append((1 - canary.holdback_share, lengths[-1]))
    draws = [generator.random((runs, length)) < share for length, (share, _) in zip(lengths, shares, strict=True)]
    columns: list[tuple[Bools, Floats]] = []
    for row in range(runs):
        sides: list[Bools] = []
        for (_, units), drawn in zip(shares, draws, strict=True):
            end = int(np.searchsorted(np.cumsum(drawn[row]), units)) + 1
            sides.append(drawn[row, :end])
        probabilities = [np.full(len(part), share) for part, (share, _) in zip(sides, shares, strict=True)]
        columns.append((np.concatenate(sides), np.concatenate(probabilities)))
    # Rows differ in length by the draws: the shorter ones go on at their last share.
    longest = max(len(one) for one, _ in columns)
    treated = np.zeros((runs, longest), dtype=np.bool_)
    share_of = np.zeros((runs, longest))
    for row, (one, probability) in enumerate(columns):
        rest = longest - len(one)
        treated[row] = np.concatenate([one, generator.random(rest) < probability[-1]])
        share_of[row] = np.concatenate([probability, np.full(rest, probability[-1])])
    return treated, share_of


def _length(units: int, share: float) -> int:
    """Return so many instructions that the challenger's share of them is nearly never too small."""
    return round((units + 6 * math.sqrt(units)) / share) + 10


def _log_alarm(outcome: Floats, treated: Bools, share: Floats, name: Any, canary: CanaryConfig) -> Floats:
    """Return the log-capital above the threshold: harm is proved from 0 on."""
    worse = -1 if name == "success" else 1
    evidence = weigh(outcome, treated, share, harm=harm_size(name, canary), worse=worse)
    above: Floats = evidence.log_capital - math.log(1 / canary.harms[name].alpha)
    return above


def _best_power(champion: float, challenger: float, total: int) -> float:
    from scipy.stats import norm

    variance = (champion * (1 - champion) + challenger * (1 - challenger)) / (total / 2)
    return float(norm.cdf((champion - challenger) / np.sqrt(variance) - norm.ppf(1 - 0.025)))


def _wilson(hits: int, runs: int) -> list[float]:
    centre = (hits + 1.92) / (runs + 3.84)
    half = 1.96 / (runs + 3.84) * np.sqrt(hits * (runs - hits) / runs + 0.96)
    return [float(centre - half), float(centre + half)]
