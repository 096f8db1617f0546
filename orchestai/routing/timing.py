"""How long a call takes: log-normal, with a level for each worker that starts at what like workers need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.errors import DataError

Array = npt.NDArray[np.float64]

_RIDGE = 1.0
_STEPS = 20


class CallFacts(NamedTuple):
    """What is known of a call before it is made.

    Attributes:
        input_tokens: Tokens that the worker reads.
        output_tokens: Tokens that it is to write.
        parameters_b: Billions of parameters of the model; None if not known.
    """

    input_tokens: float
    output_tokens: float
    parameters_b: float | None = None


@dataclass(frozen=True)
class TimePredictor:
    """Random-intercept model of log milliseconds.

    `log t = x b + u_worker + e`, `u ~ N(0, between)`, `e ~ N(0, within)`. A new worker has `u = 0`; each call
    that is observed moves it (best linear unbiased prediction), so cold start is not a special case.

    Attributes:
        weights: [4] of intercept, log input, log output, log parameters.
        typical_parameters: log billions that stand for an unknown size.
        between: Variance of the levels of workers.
        within: Variance of single calls.
        levels: (sum of residuals, calls) by worker.
    """

    weights: tuple[float, ...]
    typical_parameters: float
    between: float
    within: float
    levels: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    def level(self, worker: str) -> tuple[float, float]:
        """Return mean and variance of the worker's level."""
        total, calls = self.levels.get(worker, (0.0, 0))
        precision = 1 / self.between + calls / self.within
        return total / self.within / precision, 1 / precision

    def quantile_ms(self, worker: str, facts: CallFacts, share: float = 0.5) -> float:
        """Return the milliseconds that `share` of such calls need at most; by default the median."""
        mean, variance = self.level(worker)
        centre = float(np.dot(self.weights, self._row(facts))) + mean
        reach = NormalDist().inv_cdf(share) if share != 0.5 else 0.0
        return math.exp(centre + reach * math.sqrt(variance + self.within))

    def mean_ms(self, worker: str, facts: CallFacts) -> float:
        """Return the expected milliseconds."""
        _, variance = self.level(worker)
        return self.quantile_ms(worker, facts) * math.exp((variance + self.within) / 2)

    def observe(self, worker: str, calls: Sequence[tuple[CallFacts, float]]) -> TimePredictor:
        """Return the predictor that knows of these calls (facts and milliseconds) as well."""
        total, count = self.levels.get(worker, (0.0, 0))
        for facts, milliseconds in calls:
            total += math.log(milliseconds) - float(np.dot(self.weights, self._row(facts)))
            count += 1
        return TimePredictor(
            self.weights, self.typical_parameters, self.between, self.within, {**self.levels, worker: (total, count)}
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it in terms of JSON."""
        return {
            "weights": list(self.weights),
            "typical_parameters": self.typical_parameters,
            "between": self.between,
            "within": self.within,
            "levels": {name: list(level) for name, level in self.levels.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TimePredictor:
        """Return what `to_json` gave."""
        levels = {str(name): (float(total), int(calls)) for name, (total, calls) in values["levels"].items()}
        weights = tuple(float(weight) for weight in values["weights"])
        typical, between, within = (float(values[name]) for name in ("typical_parameters", "between", "within"))
        return cls(weights, typical, between, within, levels)

    def _row(self, facts: CallFacts) -> tuple[float, ...]:
        size = self.typical_parameters if facts.parameters_b is None else math.log(facts.parameters_b)
        return (1.0, math.log1p(facts.input_tokens), math.log1p(facts.output_tokens), size)


def fit_times(workers: Sequence[str], facts: Sequence[CallFacts], latency_ms: Sequence[float]) -> TimePredictor:
    """Fit weights and variances by iterated generalised least squares.

    Raises:
        DataError: There are fewer than two calls, or a time is not positive.
    """
    if len(latency_ms) < 2 or min(latency_ms, default=0.0) <= 0:
        raise DataError("Times can be learned from two or more calls whose milliseconds are > 0.")
    sizes = [math.log(each.parameters_b) for each in facts if each.parameters_b is not None]
    typical = float(np.median(sizes)) if sizes else 0.0
    blank = TimePredictor((0.0,) * 4, typical, 1.0, 1.0)
    rows = np.array([blank._row(each) for each in facts])  # (N, 4)
    times = np.log(np.array(latency_ms, dtype=np.float64))
    names = sorted(set(workers))
    places = np.array([names.index(worker) for worker in workers])
    counts = np.bincount(places)
    levels = np.zeros(len(names))
    between = within = max(float(times.var()), 1e-6)
    weights = np.zeros(4)
    for _ in range(_STEPS):
        # The intercept is free; the slopes are held down, because calls of one kind do not tell them apart.
        centred = rows - rows.mean(0)
        target = times - levels[places]
        slopes = np.linalg.solve(
            centred[:, 1:].T @ centred[:, 1:] + _RIDGE * np.eye(3), centred[:, 1:].T @ (target - target.mean())
        )
        weights = np.array([target.mean() - rows.mean(0)[1:] @ slopes, *slopes])
        rest = times - rows @ weights
        sums = np.bincount(places, rest)
        precision = 1 / between + counts / within
        levels = sums / within / precision
        between = max(float((levels**2 + 1 / precision).mean()), 1e-6)
        within = max(float(((rest - levels[places]) ** 2).mean()), 1e-6)
    known = {
        name: (float(total), int(count))
        for name, total, count in zip(names, np.bincount(places, times - rows @ weights), counts, strict=True)
    }
    return TimePredictor(tuple(float(each) for each in weights), typical, between, within, known)
