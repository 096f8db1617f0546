"""Metrics that others count already: they are asked when somebody reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestai.telemetry.sources import Sources

_log = logging.getLogger(__name__)

_STATES = ("closed", "open", "half_open")
_VERDICTS = ("hit", "near_hit", "blocked", "passthrough")
_STORED = {"stored": "stored", "not_stored": "refused"}


class PulledCollector(Collector):
    """Asks the sources and shapes their answers.

    Args:
        sources: Whom to ask; those that are null have empty metrics.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        """Return the families without asking anybody."""
        return [
            family for make in (_breakers, _limits, _reflex, _queues, _events, _anomalies) for family in make(Sources())
        ]

    def collect(self) -> Iterator[Metric]:
        """Ask every source; one that fails leaves its metrics out."""
        for make in _MAKERS:
            yield from _safely(make, self._sources)


def _safely(make: Callable[[Sources], list[Metric]], sources: Sources) -> list[Metric]:
    try:
        return make(sources)
    except Exception:  # a broken source must not take the other metrics with it
        _log.exception("metrics: a source failed")
        return []


def _breakers(sources: Sources) -> list[Metric]:
    state = GaugeMetricFamily(
        "orchestai_breaker_state", "1 for the state that the breaker is in.", labels=("worker", "state")
    )
    opened = CounterMetricFamily("orchestai_breaker_opened", "How often the breaker opened.", labels=("worker",))
    for reading in sources.breakers() if sources.breakers is not None else ():
        for name in _STATES:
            state.add_metric((reading.worker, name), float(str(reading.state) == name))
        opened.add_metric((reading.worker,), reading.times_opened)
    return [state, opened]


def _limits(sources: Sources) -> list[Metric]:
    calls = GaugeMetricFamily(
        "orchestai_limiter_calls", "Calls that hold a slot or wait for one.", labels=("worker", "state")
    )
    for reading in sources.limits() if sources.limits is not None else ():
        calls.add_metric((reading.worker, "running"), reading.running)
        calls.add_metric((reading.worker, "waiting"), reading.waiting)
    return [calls]


def _reflex(sources: Sources) -> list[Metric]:
    verdicts = CounterMetricFamily("orchestai_reflex_verdicts", "Verdicts of the reflex layer.", labels=("kind",))
    blocked = CounterMetricFamily("orchestai_reflex_blocked", "Why instructions were blocked.", labels=("reason",))
    found = CounterMetricFamily("orchestai_reflex_findings", "What was found in instructions.", labels=("kind",))
    stored = CounterMetricFamily("orchestai_reflex_cache_writes", "Answers offered to the cache.", labels=("outcome",))
    counts = sources.reflex() if sources.reflex is not None else {}
    for name, count in counts.items():
        if name in _VERDICTS:
            verdicts.add_metric((name,), count)
        elif name.startswith("blocked."):
            blocked.add_metric((name.removeprefix("blocked."),), count)
        elif name in _STORED:
            stored.add_metric((_STORED[name],), count)
        else:
            found.add_metric((name,), count)
    return [verdicts, blocked, found, stored]


def _queues(sources: Sources) -> list[Metric]:
    messages = GaugeMetricFamily("orchestai_queue_messages", "Messages in the durable queue.", labels=("to", "state"))
    for reading in sources.queues() if sources.queues is not None else ():
        messages.add_metric((reading.to, reading.state), reading.messages)
    return [messages]


def _events(sources: Sources) -> list[Metric]:
    dropped = CounterMetricFamily(
        "orchestai_events_dropped", "Events that a slow subscriber lost.", labels=("subscriber",)
    )
    counts = sources.events_dropped() if sources.events_dropped is not None else {}
    for subscriber, count in counts.items():
        dropped.add_metric((subscriber,), count)
    return [dropped]


def _anomalies(sources: Sources) -> list[Metric]:
    score = GaugeMetricFamily(
        "orchestai_worker_anomaly_score", "How unlike itself a worker is; above 1 is an alarm.", labels=("worker",)
    )
    alarms = CounterMetricFamily("orchestai_worker_anomalies", "Alarms for unusual behaviour.", labels=("worker",))
    for reading in sources.anomalies() if sources.anomalies is not None else ():
        score.add_metric((reading.worker,), reading.score)
        alarms.add_metric((reading.worker,), reading.alarms)
    return [score, alarms]


_MAKERS = (_breakers, _limits, _reflex, _queues, _events, _anomalies)
