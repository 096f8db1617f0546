"""No more calls at a time than a worker's profile allows, whoever makes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from orchestai.config import LimitsConfig
from orchestai.contracts import Worker, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import WorkerTimeoutError
from orchestai.workers.limiter import TenantLimiter
from orchestai.workers.streaming import stream_answer

_EVERYBODY = "everybody"
_NO_WAIT_S = 0.001  # a copy of the request would cost more than this moment is worth


class LimitedWorker:
    """Holds calls back until one of `slots` is free.

    Waiting counts against the caller's `timeout_s`, not against the worker's own limit: a queue
    in front of a small model is no failure of that model. Turns between tenants are made before, by whoever
    knows the tenants (`TenantLimiter.slot`): here all calls stand in one queue.
    """

    def __init__(self, worker: Worker, slots: int, *, max_waiting: int = LimitsConfig().max_waiting) -> None:
        self._worker = worker
        self._slots = slots
        self._limiter = TenantLimiter({worker.profile.name: slots}, LimitsConfig(max_waiting=max_waiting))

    def __repr__(self) -> str:
        return f"LimitedWorker({self._worker!r}, {self._slots})"

    @property
    def profile(self) -> WorkerProfile:
        """Facts of the worker behind the limit."""
        return self._worker.profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task as soon as a slot is free.

        Raises:
            WorkerError: As the worker itself; a timeout too if no slot became free in time.
            OverloadedError: Too many calls wait already.
        """
        slot = self._limiter.slot(_EVERYBODY, self.profile.name)
        if slot.take():  # the usual case, without the clocks that waiting needs
            try:
                return await self._worker.run(request)
            finally:
                slot.give_back()
        async with AsyncExitStack() as stack:
            return await self._worker.run(await self._enter(stack, request))

    async def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        """Do one sub-task in pieces; see `StreamingWorker.stream`. The slot is held until the last piece is taken.

        Raises:
            WorkerError: As the worker itself; a timeout too if no slot became free in time.
            OverloadedError: Too many calls wait already.
        """
        async with AsyncExitStack() as stack:
            request = await self._enter(stack, request)
            items = await stack.enter_async_context(aclosing(stream_answer(self._worker, request)))
            async for item in items:
                yield item

    async def aclose(self) -> None:
        """Close the worker behind the limit."""
        await self._worker.aclose()

    async def _enter(self, stack: AsyncExitStack, request: WorkerRequest) -> WorkerRequest:
        """Take a slot and return the request with the time that is left of it."""
        slot = self._limiter.slot(_EVERYBODY, self.profile.name)
        if request.timeout_s is None:
            await stack.enter_async_context(slot)
            return request
        started = time.monotonic()
        try:
            async with asyncio.timeout(request.timeout_s):
                await stack.enter_async_context(slot)
        except TimeoutError:
            raise WorkerTimeoutError(
                f"None of the {self._slots} slots of worker {self.profile.name!r} became free "
                f"within {request.timeout_s} s.",
                worker=self.profile.name,
                remedy="Raise its `max_concurrency` or the time allowed.",
            ) from None
        waited_s = time.monotonic() - started
        if waited_s < _NO_WAIT_S:
            return request
        return request.model_copy(update={"timeout_s": max(request.timeout_s - waited_s, 0.001)})
