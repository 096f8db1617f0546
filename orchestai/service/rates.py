"""Requests a minute and dollars a day."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

from orchestai.engine.store import ExecutionStore
from orchestai.errors import ConfigError, ConfigProblem
from orchestai.service.problems import ProblemError


class Rates:
    """Counts requests by token, and wrong tokens by address, in windows that slide.

    Args:
        storage: Where they are counted, as `limits` names it.
        failures_per_minute: Wrong tokens an address may send.

    Raises:
        ConfigError: There is no such storage.
    """

    def __init__(self, storage: str, failures_per_minute: int) -> None:
        try:
            opened: Any = storage_from_string(storage)
        except Exception as error:  # a missing driver or a wrong address, by many names
            problem = ConfigProblem(
                "project.yml",
                None,
                "service.rate_storage",
                f"cannot be used: {error}.",
                "Use async+memory://, or install the driver that `limits` needs for it.",
            )
            raise ConfigError([problem]) from error
        self._limiter = SlidingWindowCounterRateLimiter(opened)
        self._failures = RateLimitItemPerMinute(failures_per_minute)
        self._items: dict[int, RateLimitItemPerMinute] = {}

    async def hit(self, name: str, per_minute: int) -> float | None:
        """Count a request; return the seconds to wait if it was one too many."""
        item = self._items.setdefault(per_minute, RateLimitItemPerMinute(per_minute))
        if await self._limiter.hit(item, "token", name):
            return None
        return await self._seconds_left(item, "token", name)

    async def fail(self, address: str) -> float | None:
        """Count a wrong token; return the seconds to wait if the address is held off."""
        if await self._limiter.hit(self._failures, "failed", address):
            return None
        return await self._seconds_left(self._failures, "failed", address)

    async def held_off(self, address: str) -> float | None:
        """Return the seconds that an address has to wait, or None."""
        if await self._limiter.test(self._failures, "failed", address):
            return None
        return await self._seconds_left(self._failures, "failed", address)

    async def _seconds_left(self, item: RateLimitItemPerMinute, *key: str) -> float:
        stats = await self._limiter.get_window_stats(item, *key)
        return max(1.0, float(stats.reset_time) - time.time())


class Spending:
    """What each token spent today (UTC), from the store and from what ended here since it was read.

    Args:
        store: Knows what every process of this home spent.
        clock: Unix time.
    """

    def __init__(self, store: ExecutionStore, *, clock: Any = time.time) -> None:
        self._store = store
        self._clock = clock
        self._day = self._today()
        self._spent: dict[str, float] = {}
        self._reserved: dict[str, float] = {}

    def refresh(self) -> None:
        """Read what was spent; blocks, so it is called beside the event loop."""
        self._store.flush().result()
        day = self._today()
        spent = self._store.cost_by_user(since=day.timestamp())
        self._day, self._spent = day, spent

    def reserve(self, name: str, per_day: float, wanted: float | None) -> tuple[float, float]:
        """Return what an execution may spend and what of it was set aside: what it wanted, if that is left.

        Raises:
            ProblemError: Nothing is left today.
        """
        if self._today() != self._day:
            self._day, self._spent = self._today(), {}
        left = per_day - self._spent.get(name, 0.0) - self._reserved.get(name, 0.0)
        if left <= 0:
            raise ProblemError(
                429,
                "budget_exhausted",
                f"The token {name!r} may spend ${per_day:g} a day, which is spent.",
                remedy="Wait for the next day (UTC), or use a token with a larger budget.",
                retry_after_s=(self._day + timedelta(days=1)).timestamp() - self._clock(),
            )
        reserved = min(wanted, left) if wanted is not None else 0.0
        self._reserved[name] = self._reserved.get(name, 0.0) + reserved
        return left if wanted is None else reserved, reserved

    def settle(self, name: str, reserved: float, cost: float) -> None:
        """Note what an execution came to."""
        self._reserved[name] = max(0.0, self._reserved.get(name, 0.0) - reserved)
        self._spent[name] = self._spent.get(name, 0.0) + cost

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).replace(hour=0, minute=0, second=0, microsecond=0)
