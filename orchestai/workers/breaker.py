"""Leaves a worker alone that fails again and again, and lets exactly one call find out whether it is back."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from orchestai.config import BreakerConfig
from orchestai.contracts import Worker, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import (
    BreakerOpenError,
    MalformedResponseError,
    OrchestAIError,
    TransientWorkerError,
    WorkerTimeoutError,
)
from orchestai.workers.streaming import stream_answer

_ALMOST = 0.95


class BreakerState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    """Lets it through."""
    OPEN = "open"
    """Turns it away."""
    HALF_OPEN = "half_open"
    """Lets one through, as the probe, and turns the others away until that one has ended."""


@dataclass(frozen=True)
class BreakerSnapshot:
    """What a breaker shows to metrics and people.

    Attributes:
        worker: Whose breaker it is.
        state: Now.
        failures: Transient failures in a row.
        retry_after_s: Seconds until a probe is let through; 0 unless open.
        times_opened: How often it opened so far.
        reason: Why somebody opened it who watches the worker; null where it opened by itself, or is closed.
    """

    worker: str
    state: BreakerState
    failures: int
    retry_after_s: float
    times_opened: int
    reason: str | None = None


Passes = Callable[[WorkerRequest, WorkerOutput, float], bool]
"""Says whether a probe that was answered passes: the call, the answer, and the milliseconds that it took."""

OnChange = Callable[[str, BreakerState], None]


class Pass:
    """Leave to make one call. It must be ended exactly once, whatever becomes of the call.

    A pass that was given before the breaker last changed tells nothing about the worker now, and is ignored.
    """

    __slots__ = ("_breaker", "_era", "probe")

    def __init__(self, breaker: CircuitBreaker, era: int, *, probe: bool) -> None:
        self._breaker = breaker
        self._era = era
        self.probe = probe

    def succeeded(self) -> None:
        """The worker answered."""
        self._breaker._end(self._era, failed=False)

    def failed(self) -> None:
        """The worker failed in a way that another try may cure."""
        self._breaker._end(self._era, failed=True)

    def abandoned(self) -> None:
        """The call ended without telling anything: cancelled, or broken on our side."""
        self._breaker._end(self._era, failed=None)


class CircuitBreaker:
    """Closed, open, half-open; safe to use from several threads.

    Args:
        worker: Name of the worker that it guards.
        config: How many failures open it, and for how long.
        clock: Seconds that only go forward.
        on_change: Told of each new state, outside the lock, by the call that caused it.
    """

    def __init__(
        self,
        worker: str,
        config: BreakerConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_change: OnChange | None = None,
    ) -> None:
        self._worker = worker
        self._config = config
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._open_for_s = config.open_s
        self._reason: str | None = None
        self._probing = False
        self._times_opened = 0
        # Counts openings, probes and closings: passes of an earlier era are ignored.
        self._era = 0

    @property
    def state(self) -> BreakerState:
        """What it would do with a call now."""
        return self.snapshot().state

    def snapshot(self) -> BreakerSnapshot:
        """Return all that it shows, as of one moment."""
        with self._lock:
            left_s = self._left_s()
            if self._opened_at is None:
                state = BreakerState.CLOSED
            else:
                state = BreakerState.OPEN if left_s > 0 else BreakerState.HALF_OPEN
            return BreakerSnapshot(self._worker, state, self._failures, left_s, self._times_opened, self._reason)

    def trip(self, reason: str, *, for_s: float | None = None) -> None:
        """Open, for a reason that the breaker itself does not see; a probe closes it again as always.

        Args:
            reason: Why, in words.
            for_s: Seconds until a probe is let through, also after probes that fail; `open_s` when not given.
        """
        with self._lock:
            if self._opened_at is not None:
                return  # it is left alone already
            self._reason = reason
            self._open(for_s)
            self._era += 1
        self._tell(BreakerState.OPEN)

    def admit(self) -> Pass:
        """Return leave to make one call.

        Raises:
            BreakerOpenError: The worker is left alone, or another call is finding out whether it is back.
        """
        with self._lock:
            if self._opened_at is None:
                return Pass(self, self._era, probe=False)
            left_s = self._left_s()
            if left_s > 0 or self._probing:
                raise BreakerOpenError(worker=self._worker, retry_after_s=left_s)
            self._probing = True
            self._era += 1
            probe = Pass(self, self._era, probe=True)
        self._tell(BreakerState.HALF_OPEN)
        return probe

    def _end(self, era: int, *, failed: bool | None) -> None:
        with self._lock:
            if era != self._era:
                return
            change = self._judge(failed)
        if change is not None:
            self._tell(change)

    def _judge(self, failed: bool | None) -> BreakerState | None:
        if self._probing:
            self._probing = False
            self._era += 1
            if failed is None:
                return None  # still half-open: the next call is the probe
            if not failed:
                self._opened_at = self._reason = None
                self._failures = 0
                return BreakerState.CLOSED
            self._failures += 1
            self._open(self._open_for_s)
            return BreakerState.OPEN
        if failed is None:
            return None
        self._failures = self._failures + 1 if failed else 0
        if self._failures < self._config.failures:
            return None
        self._open()
        self._era += 1
        return BreakerState.OPEN

    def _open(self, for_s: float | None = None) -> None:
        self._open_for_s = self._config.open_s if for_s is None else for_s
        self._opened_at = self._clock()
        self._times_opened += 1

    def _left_s(self) -> float:
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._open_for_s - self._clock())

    def _tell(self, state: BreakerState) -> None:
        if self._on_change is not None:
            self._on_change(self._worker, state)


class GuardedWorker:
    """A worker behind its breaker.

    Refusals (no key, wrong request) show that the worker is there. So does an answer that is only not the JSON
    that was asked for, and a caller in such a hurry that no answer was to be expected proves nothing. A call that
    somebody cancels proves nothing either, unless the worker's time was over: whoever has a limit of his own
    around the call cancels a worker that hangs a moment before its own limit would.

    Args:
        worker: Who is called.
        breaker: Its breaker.
        clock: Seconds that only go forward.
        passes: Says whether a probe that was answered passes; without it every answer does.
    """

    def __init__(
        self,
        worker: Worker,
        breaker: CircuitBreaker,
        *,
        clock: Callable[[], float] = time.monotonic,
        passes: Passes | None = None,
    ) -> None:
        self._worker = worker
        self._breaker = breaker
        self._passes = passes
        self._clock = clock

    def __repr__(self) -> str:
        return f"GuardedWorker({self._worker!r})"

    @property
    def profile(self) -> WorkerProfile:
        """Facts of the worker behind the breaker."""
        return self._worker.profile

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker, to look at."""
        return self._breaker

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task.

        Raises:
            BreakerOpenError: The worker is left alone for now.
            WorkerError: As the worker itself.
        """
        leave = self._breaker.admit()
        started = self._clock()
        try:
            output = await self._worker.run(request)
        except BaseException as error:
            self._tell(leave, error, request, self._clock() - started)
            raise
        self._answered(leave, request, output, self._clock() - started)
        return output

    async def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        """Do one sub-task in pieces; see `StreamingWorker.stream`.

        Raises:
            BreakerOpenError: The worker is left alone for now.
            WorkerError: As the worker itself.
        """
        leave = self._breaker.admit()
        started = self._clock()
        output: WorkerOutput | None = None
        try:
            async with aclosing(stream_answer(self._worker, request)) as items:
                async for item in items:
                    output = item if isinstance(item, WorkerOutput) else output
                    yield item
        except BaseException as error:
            self._tell(leave, error, request, self._clock() - started)
            raise
        self._answered(leave, request, output, self._clock() - started)

    async def aclose(self) -> None:
        """Close the worker behind the breaker."""
        await self._worker.aclose()

    def _answered(self, leave: Pass, request: WorkerRequest, output: WorkerOutput | None, took_s: float) -> None:
        if leave.probe and self._passes is not None and output is not None:
            passed = self._passes(request, output, took_s * 1000)
        else:
            passed = True
        leave.succeeded() if passed else leave.failed()

    def _tell(self, leave: Pass, error: BaseException, request: WorkerRequest, took_s: float) -> None:
        limit_s = min(request.timeout_s or math.inf, self.profile.timeout_s)
        in_a_hurry = limit_s * 1000 < self.profile.typical_latency_ms
        if isinstance(error, asyncio.CancelledError) and took_s >= _ALMOST * limit_s and not in_a_hurry:
            leave.failed()
        elif not isinstance(error, OrchestAIError):
            leave.abandoned()
        elif not isinstance(error, TransientWorkerError) or _is_only_not_json(error):
            leave.succeeded()
        elif isinstance(error, WorkerTimeoutError) and in_a_hurry:
            leave.abandoned()
        else:
            leave.failed()


def _is_only_not_json(error: TransientWorkerError) -> bool:
    return isinstance(error, MalformedResponseError) and error.answer is not None
