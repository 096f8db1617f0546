"""Live: every sub-task that ends is scored; a worker unlike itself is alerted and left alone until a probe passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from orchestai.config import AnomalyConfig, BreakerConfig
from orchestai.contracts import ExecutionResult, SubtaskRecord, WorkerOutput, WorkerRequest
from orchestai.routing.anomaly.behaviour import LATENCY, LENGTH, PRICE, Observation, Trace, observe
from orchestai.routing.anomaly.model import AnomalyModel
from orchestai.workers.breaker import BreakerState, CircuitBreaker

ALERTS = logging.getLogger("orchestai.alerts")
"""Handlers of this logger carry alerts to wherever an installation wants them."""

_PROBE_LIMIT = 3.0
"""Deviations that one probing call may be off: a single call says less than a summary of many."""
_FORGIVEN = 200
"""Calls without an alarm after which the next one counts as the first."""
_REPEAT = 64
"""Calls after an alert that changed nothing before the next one."""


class AnomalyReading(NamedTuple):
    """What the watch shows of one worker.

    Attributes:
        worker: Who.
        score: Its last score over the threshold: above 1 is an alarm.
        alarms: Alarms so far.
        away: Whether it is left alone for one.
    """

    worker: str
    score: float
    alarms: int
    away: bool


@dataclass
class _Watched:
    trace: Trace = field(default_factory=Trace)
    score: float = 0.0
    alarms: int = 0
    streak: int = 0
    calls: int = 0
    quiet_until: int = 0
    away: bool = False


class BehaviourWatch:
    """Scores what workers do; to be used on one event loop.

    A worker leaves routing by its breaker, which opens as if it had failed too often: there is one place that decides
    who may be called. The breaker's probe must then not only answer, but answer as usual (`passes`).

    Args:
        model: What is normal.
        config: Whether to intervene, and for how long at most.
        breaker: How long a breaker stays open; the time doubles with each alarm that follows soon.
        breaker_of: The breaker of a worker; None where it has none.
        replaceable: Whether somebody else can do a worker's task type now; the last one is never sent away.
    """

    def __init__(
        self,
        model: AnomalyModel,
        config: AnomalyConfig,
        breaker: BreakerConfig,
        *,
        breaker_of: Callable[[str], CircuitBreaker | None],
        replaceable: Callable[[str, str], bool],
    ) -> None:
        self._model = model
        self._config = config
        self._open_s = breaker.open_s
        self._breaker_of = breaker_of
        self._replaceable = replaceable
        self._watched: dict[str, _Watched] = {}

    def ended(self, record: SubtaskRecord) -> float | None:
        """Take in a sub-task that ended; return its worker's score over the threshold, None where it is not watched."""
        for name in record.gave_up:  # all of their calls failed
            self._take(Observation(name, record.task_type, 1, 1, None, None, None, 0))
        seen = observe(record)
        return self._take(seen) if seen is not None else None

    def judged(self, result: ExecutionResult) -> None:
        """Take in whether the checks of an execution held; all who worked on it share that."""
        if not result.checks:
            return
        for record in result.subtasks:
            if record.status == "done" and record.attempts:
                self._take(Observation(record.worker, record.task_type, 0, 0, None, None, None, 0, result.success))

    def passes(self, request: WorkerRequest, output: WorkerOutput, *, worker: str, took_ms: float) -> bool:
        """Say whether a probing call went as usual; always for a breaker that opened for another reason."""
        watched = self._watched.get(worker)
        if watched is None or not watched.away:
            return True
        read, written = (int(output.metadata.get(name) or 0) for name in ("input_tokens", "output_tokens"))
        seen = Observation(
            worker=worker,
            task_type=request.task_type,
            calls=1,
            failures=0,
            latency_ms=took_ms,
            output_tokens=written if read + written else None,
            cost_usd=output.cost if output.cost > 0 and read + written else None,
            tokens=read + written,
        )
        surprise = self._model.expectations.surprise(seen)
        if surprise is None:
            return True
        # Too quick or too cheap is no reason to stay away; NaN, what was not measured, is above nothing.
        strange = (
            surprise[LATENCY] > _PROBE_LIMIT or surprise[PRICE] > _PROBE_LIMIT or abs(surprise[LENGTH]) > _PROBE_LIMIT
        )
        if strange:
            ALERTS.warning("worker %s: the probe was unusual again; it is left alone for longer", worker)
        return not strange

    def readings(self) -> list[AnomalyReading]:
        """Return what is known of each worker that was seen; from any thread."""
        return [
            AnomalyReading(name, each.score, each.alarms, self._is_away(name, each))
            for name, each in list(self._watched.items())
        ]

    def _take(self, seen: Observation) -> float | None:
        surprise = self._model.expectations.surprise(seen)
        if surprise is None:
            return None
        watched = self._watched.setdefault(seen.worker, _Watched())
        if self._is_away(seen.worker, watched):
            return None  # a call from before it was sent away
        watched.calls += seen.calls
        features = np.array(watched.trace.add(surprise))
        detector = self._model.detector
        watched.score = float(detector.score(features)) / detector.threshold
        if watched.score > 1 and watched.calls >= watched.quiet_until:
            self._alarm(seen, watched, detector.blame(features))
        return watched.score

    def _alarm(self, seen: Observation, watched: _Watched, measure: str) -> None:
        watched.streak = watched.streak + 1 if watched.alarms and watched.calls < _FORGIVEN else 0
        watched.alarms += 1
        breaker = self._breaker_of(seen.worker)
        reason = f"unusual {measure}, {watched.score:.1f} times the limit"
        if not self._config.intervene or breaker is None:
            told = "only alerted"
        elif not self._replaceable(seen.worker, seen.task_type):
            told = f"it stays: nobody else does {seen.task_type}"
        else:
            for_s = min(self._open_s * 2**watched.streak, self._config.longest_open_s)
            breaker.trip(reason, for_s=for_s)
            watched.away = True
            told = f"left alone for {for_s:g} s, then until a probe passes"
        ALERTS.warning("worker %s behaves unlike itself: %s; %s", seen.worker, reason, told)
        watched.calls = 0
        watched.quiet_until = 0 if watched.away else _REPEAT
        watched.trace.reset()

    def _is_away(self, name: str, watched: _Watched) -> bool:
        if watched.away:
            breaker = self._breaker_of(name)
            watched.away = breaker is not None and breaker.state is not BreakerState.CLOSED
        return watched.away
