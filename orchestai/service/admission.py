"""How much is taken on at a time: so many executions run, so many requests wait, the rest is told to come back."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter

from orchestai.config import ServiceConfig
from orchestai.contracts import Priority
from orchestai.service.metrics import ServiceMetrics
from orchestai.service.problems import ProblemError

_RANK: dict[Priority, int] = {"high": 0, "normal": 1, "low": 2}


class Admission:
    """Gives places to executions; the urgent ones first, then in order.

    Args:
        config: How many.
        metrics: Told how many run and wait.
    """

    def __init__(self, config: ServiceConfig, metrics: ServiceMetrics) -> None:
        self._config = config
        self._metrics = metrics
        self._running = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._queued = 0
        self._numbers = itertools.count()
        self._by_tenant: Counter[str] = Counter()
        self.closed = False

    async def enter(self, tenant: str, priority: Priority) -> None:
        """Wait for a place; `leave` gives it back.

        Raises:
            ProblemError: The service stops, or too many wait already (503); the tenant has its share (429).
        """
        if self.closed:
            raise stopping()
        limit = self._config.max_per_tenant
        if limit is not None and self._by_tenant[tenant] >= limit:
            self._metrics.reject("tenant_share")
            raise ProblemError(
                429,
                "tenant_busy",
                f"{limit} executions of this tenant run or wait already.",
                remedy="Wait for one of them.",
                retry_after_s=1,
            )
        self._by_tenant[tenant] += 1
        try:
            if self._running < self._config.max_in_flight:
                self._running += 1
            else:
                await self._wait(priority)
        except BaseException:
            self._forget(tenant)
            raise
        finally:
            self._tell()

    def leave(self, tenant: str) -> None:
        """Give a place back, to whoever waits the longest."""
        self._forget(tenant)
        self._pass_on()
        self._tell()

    def close(self) -> None:
        """Turn away whoever waits, and everybody from now on."""
        self.closed = True
        for _, _, place in self._waiting:
            if not place.done():
                place.set_exception(stopping())

    async def _wait(self, priority: Priority) -> None:
        if self._queued >= self._config.max_queued:
            self._metrics.reject("queue_full")
            raise self._overloaded(f"{self._queued} requests wait already.")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (_RANK[priority], next(self._numbers), place))
        self._queued += 1
        self._tell()
        try:
            async with asyncio.timeout(self._config.queue_timeout_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._pass_on()  # the place came in the same moment
            if isinstance(error, TimeoutError):
                self._metrics.reject("queue_timeout")
                waited = f"No place became free within {self._config.queue_timeout_s:g} s."
                raise self._overloaded(waited) from None
            raise
        finally:
            self._queued -= 1

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)
                return
        self._running -= 1

    def _forget(self, tenant: str) -> None:
        self._by_tenant[tenant] -= 1
        if self._by_tenant[tenant] <= 0:
            del self._by_tenant[tenant]

    def _tell(self) -> None:
        self._metrics.in_flight.set(self._running)
        self._metrics.queued.set(self._queued)

    def _overloaded(self, detail: str) -> ProblemError:
        return ProblemError(503, "overloaded", detail, remedy="Try again later.", retry_after_s=2)


def stopping() -> ProblemError:
    """Return the answer to requests that come while the service stops."""
    return ProblemError(
        503,
        "stopping",
        "The service stops.",
        remedy="Try again; another process takes over.",
        retry_after_s=5,
        headers={"Connection": "close"},
    )
