"""What a worker did against what was to be expected of it, and the running summary of that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.contracts import SubtaskRecord

Array = npt.NDArray[np.float64]

MEASURES = ("latency", "failures", "length of answers", "price a token", "rejected answers")
LATENCY, FAILURES, LENGTH, PRICE, REJECTED = range(len(MEASURES))

RATES = (1 / 8, 1 / 32)
"""Weights of the newest call: a quick summary for what breaks, a slow one for what creeps."""
FEATURES = len(RATES) * len(MEASURES) + 2
"""Each measure at each rate, and how widely latency and length scatter."""

_MOST = 8.0  # one call, however strange, is one call
_LEAST_SD = (0.05, 0.05, 0.02)  # of log latency, log length, log price: workers that never vary would alarm at once
_PRIOR_CALLS = 50.0
_PRIOR_RATE = 0.02
_NO_TYPE = ""


class Observation(NamedTuple):
    """One sub-task as it ended at one worker.

    Attributes:
        worker: Who.
        task_type: What kind.
        calls: Calls made for it; 0 where only the acceptance is news.
        failures: Those of them that failed.
        latency_ms: Time of the one call; None where there were several, or none that answered.
        output_tokens: Length of its answer; None where unknown.
        cost_usd: Its price; None where unknown.
        tokens: Tokens that were paid for.
        accepted: Whether the execution's checks held; None without checks.
    """

    worker: str
    task_type: str
    calls: int
    failures: int
    latency_ms: float | None
    output_tokens: int | None
    cost_usd: float | None
    tokens: int
    accepted: bool | None = None


def observe(record: SubtaskRecord | Mapping[str, Any], accepted: bool | None = None) -> Observation | None:
    """Return what a sub-task's record shows of its worker; None where no call was made."""
    get = record.get if isinstance(record, Mapping) else lambda name: getattr(record, name)
    calls, done = int(get("attempts") or 0), get("status") == "done"
    if not calls:
        return None
    single = done and calls == 1 and not get("gave_up")
    written, read = int(get("output_tokens") or 0), int(get("input_tokens") or 0)
    cost = float(get("cost_usd") or 0.0)
    return Observation(
        worker=str(get("worker")),
        task_type=str(get("task_type")),
        calls=calls,
        failures=calls - done,
        latency_ms=float(get("latency_ms") or 0.0) if single else None,
        output_tokens=written if single and read + written else None,
        cost_usd=cost if single and cost > 0 and read + written else None,
        tokens=read + written,
        accepted=accepted if done else None,
    )


class Expectations:
    """What is normal, a worker and task type: means and deviations, learned from past calls.

    Latency is expected given the length of the answer. What is rare for a task type is drawn towards the worker.

    Args:
        table: (worker, task type) to its row in `values`; the task type "" stands for all of a worker.
        values: [K, 9] mean and deviation of log latency, log length and log price a token, rate of failures, rate of
            rejections, slope of log latency by log length.
    """

    def __init__(self, table: Mapping[tuple[str, str], int], values: Array) -> None:
        self.table = dict(table)
        self.values = values
        self._rows = {key: tuple(float(each) for each in values[place]) for key, place in self.table.items()}

    @property
    def workers(self) -> tuple[str, ...]:
        """Of whom something is known."""
        return tuple(worker for worker, kind in self.table if kind == _NO_TYPE)

    @classmethod
    def learn(cls, seen: Iterable[Observation], *, least: int) -> Expectations:
        """Learn from normal calls.

        Args:
            seen: What happened.
            least: Fewest observations of a worker; others are left out.
        """
        by_worker: dict[str, list[Observation]] = {}
        for each in seen:
            by_worker.setdefault(each.worker, []).append(each)
        table: dict[tuple[str, str], int] = {}
        values: list[list[float]] = []
        for worker, of_worker in by_worker.items():
            if len(of_worker) < least:
                continue
            general = _summary(of_worker, None)
            table[worker, _NO_TYPE] = len(values)
            values.append(general)
            for kind in sorted({each.task_type for each in of_worker}):
                table[worker, kind] = len(values)
                values.append(_summary([each for each in of_worker if each.task_type == kind], general))
        return cls(table, np.array(values).reshape(-1, 9))

    def surprise(self, seen: Observation) -> tuple[float, ...] | None:
        """Return, for each measure, how far it is from what is expected, in deviations; NaN where it was not measured.

        None for a worker of whom nothing is known.
        """
        row = self._rows.get((seen.worker, seen.task_type)) or self._rows.get((seen.worker, _NO_TYPE))
        if row is None:
            return None
        nan = math.nan
        length = latency = price = rejected = nan
        drift = 0.0
        if seen.output_tokens is not None:
            drift = math.log1p(seen.output_tokens) - row[2]
            length = drift / row[3]
        if seen.latency_ms is not None:
            latency = (math.log(max(seen.latency_ms, 1e-3)) - row[0] - row[8] * drift) / row[1]
        if seen.cost_usd is not None and seen.tokens:
            price = (math.log(seen.cost_usd / seen.tokens) - row[4]) / row[5]
        failed = _rate_surprise(seen.failures / seen.calls, row[6]) if seen.calls else nan
        if seen.accepted is not None:
            rejected = _rate_surprise(1.0 - seen.accepted, row[7])
        return tuple(
            each if math.isnan(each) else min(max(each, -_MOST), _MOST)
            for each in (latency, failed, length, price, rejected)
        )


class Trace:
    """Running summary of one worker's surprises: exponential means at two rates, and the scatter.

    Plain floats: for a dozen numbers a call they are quicker than arrays.
    """

    __slots__ = ("_fast", "_scatter", "_slow", "calls")

    def __init__(self) -> None:
        self.reset()

    def add(self, surprise: Sequence[float]) -> list[float]:
        """Take a call in and return the features now, `FEATURES` of them; what was not measured stays as it was."""
        self.calls += 1
        fast, slow, scatter = self._fast, self._slow, self._scatter
        for place, value in enumerate(surprise):
            if value == value:  # not NaN
                fast[place] += RATES[0] * (value - fast[place])
                slow[place] += RATES[1] * (value - slow[place])
        for place, measure in enumerate(_SCATTERING):
            value = surprise[measure]
            if value == value:
                scatter[place] += RATES[1] * (min(value * value, _MOST) - 1.0 - scatter[place])
        return [*fast, *slow, *scatter]

    def reset(self) -> None:
        """Forget; the worker is as new."""
        self.calls = 0
        self._fast = [0.0] * len(MEASURES)
        self._slow = [0.0] * len(MEASURES)
        self._scatter = [0.0] * len(_SCATTERING)


_SCATTERING = (LATENCY, LENGTH)
_PLACES = (*range(len(MEASURES)), *range(len(MEASURES)), *_SCATTERING)


USUAL = tuple((rate / (2 - rate)) ** 0.5 for rate in RATES for _ in MEASURES) + (2**0.5 * (RATES[1] / 2) ** 0.5,) * 2
"""Deviations of the features where surprises are independent: what a worker that never varied must be allowed."""


def features_of(stream: Sequence[Observation], expectations: Expectations) -> Array:
    """Return [N, F] the features after each call of one worker's stream."""
    trace = Trace()
    found = []
    for each in stream:
        surprise = expectations.surprise(each)
        if surprise is not None:
            found.append(trace.add(surprise))
    return np.array(found).reshape(-1, FEATURES)


def measure_of(feature: int) -> str:
    """Name the measure behind a feature."""
    return MEASURES[_PLACES[feature]]


def _rate_surprise(found: float, rate: float) -> float:
    return (found - rate) / math.sqrt(rate * (1 - rate))


def _summary(seen: Sequence[Observation], general: Sequence[float] | None) -> list[float]:
    def series(values: Iterable[float | None]) -> Array:
        return np.array([each for each in values if each is not None])

    lengths = series(math.log1p(each.output_tokens) if each.output_tokens is not None else None for each in seen)
    prices = series(math.log(each.cost_usd / each.tokens) if each.cost_usd and each.tokens else None for each in seen)
    length, length_sd = _mean_sd(lengths, _LEAST_SD[1], general[2:4] if general else None)
    price, price_sd = _mean_sd(prices, _LEAST_SD[2], general[4:6] if general else None)
    timed = [each for each in seen if each.latency_ms is not None]
    times = np.array([math.log(max(each.latency_ms or 0.0, 1e-3)) for each in timed])
    drifts = np.array(
        [math.log1p(each.output_tokens) - length if each.output_tokens is not None else 0.0 for each in timed]
    )
    slope = general[8] if general else _slope(drifts, times)
    latency, latency_sd = _mean_sd(times - slope * drifts, _LEAST_SD[0], general[0:2] if general else None)
    failures = _rate(
        sum(each.failures for each in seen), sum(each.calls for each in seen), general[6] if general else None
    )
    judged = [each for each in seen if each.accepted is not None]
    rejected = _rate(sum(not each.accepted for each in judged), len(judged), general[7] if general else None)
    return [latency, latency_sd, length, length_sd, price, price_sd, failures, rejected, slope]


def _mean_sd(values: Array, least_sd: float, general: Sequence[float] | None) -> tuple[float, float]:
    """Robust mean and deviation, drawn towards those of the worker while there are few values."""
    prior = _PRIOR_CALLS / 5 if general else 0.0
    mean, spread = (general[0], general[1]) if general else (0.0, 1.0)
    if len(values):
        middle = float(np.median(values))
        # The training calls may hold a few bad ones.
        reach = 5 * max(1.4826 * float(np.median(np.abs(values - middle))), least_sd)
        kept = values[np.abs(values - middle) <= reach]
        mean = (prior * mean + kept.sum()) / (prior + len(kept))
        spread = math.sqrt((prior * spread**2 + float(((kept - mean) ** 2).sum())) / (prior + len(kept)))
    return float(mean), max(float(spread), least_sd)


def _rate(hits: float, count: float, general: float | None) -> float:
    prior = _PRIOR_RATE if general is None else general
    return min(max((hits + _PRIOR_CALLS * prior) / (count + _PRIOR_CALLS), 0.005), 0.995)


def _slope(drifts: Array, times: Array) -> float:
    """Log latency by log length, least squares, drawn towards none."""
    if len(times) < 2:
        return 0.0
    centred = times - times.mean()
    return float((drifts * centred).sum() / ((drifts**2).sum() + _PRIOR_CALLS * 0.01))
