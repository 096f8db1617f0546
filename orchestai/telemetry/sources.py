"""What is asked when metrics are read, so that nobody pays for it before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class BreakerReading(Protocol):
    """What a breaker shows; `orchestai.workers.breaker.BreakerSnapshot` is one."""

    @property
    def worker(self) -> str:
        """Whose breaker it is."""

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""

    @property
    def times_opened(self) -> int:
        """How often it opened so far."""


@dataclass(frozen=True)
class LimiterReading:
    """What a limiter shows of one worker.

    Attributes:
        worker: Whose calls are limited.
        running: Calls that hold a slot.
        waiting: Calls that wait for one.
    """

    worker: str
    running: int
    waiting: int


@dataclass(frozen=True)
class QueueReading:
    """What the durable queue holds for one receiver.

    Attributes:
        to: The receiver.
        state: `ready`, `leased` or `dead`.
        messages: How many.
    """

    to: str
    state: str
    messages: int


class AnomalyReading(Protocol):
    """What a watch shows of one worker; `orchestai.routing.anomaly.watch.AnomalyReading` is one."""

    @property
    def worker(self) -> str:
        """Who."""

    @property
    def score(self) -> float:
        """Its last score over the threshold."""

    @property
    def alarms(self) -> int:
        """Alarms so far."""


@dataclass
class Sources:
    """Functions that are called in the thread that reads the metrics; one that fails leaves its metrics out.

    Attributes:
        breakers: The breakers now.
        limits: The limiter now.
        reflex: The reflex layer's counts by name (`ReflexCounters.snapshot`).
        queues: The durable queue now.
        events_dropped: Events that slow subscribers lost, by subscriber.
        anomalies: How unlike themselves workers are now.
    """

    breakers: Callable[[], Iterable[BreakerReading]] | None = None
    limits: Callable[[], Iterable[LimiterReading]] | None = None
    reflex: Callable[[], Mapping[str, int]] | None = None
    queues: Callable[[], Iterable[QueueReading]] | None = None
    events_dropped: Callable[[], Mapping[str, int]] | None = None
    anomalies: Callable[[], Iterable[AnomalyReading]] | None = None
