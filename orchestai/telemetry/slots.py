"""Measures how long calls wait for a slot, around whatever limiter the host has."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from orchestai.errors import OverloadedError

Slots = Callable[[str, str], AbstractAsyncContextManager[None]]
"""Gives a slot for a tenant and a worker."""


class TimedSlot:
    """A slot that tells how long its holder waited, and who was turned away."""

    __slots__ = ("_rejected", "_slot", "_waited", "_worker")

    def __init__(
        self,
        slot: AbstractAsyncContextManager[None],
        worker: str,
        waited: Callable[[str, float], None],
        rejected: Callable[[str], None],
    ) -> None:
        self._slot = slot
        self._worker = worker
        self._waited = waited
        self._rejected = rejected

    async def __aenter__(self) -> None:
        started = time.monotonic()
        try:
            await self._slot.__aenter__()
        except OverloadedError:
            self._rejected(self._worker)
            raise
        self._waited(self._worker, time.monotonic() - started)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._slot.__aexit__(kind, error, trace)
