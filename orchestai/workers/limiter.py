"""No more calls at a time than a worker's profile allows."""

from __future__ import annotations

import asyncio
import time
from weakref import WeakKeyDictionary

from orchestai.contracts import Worker, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import WorkerTimeoutError


class LimitedWorker:
    """Holds calls back until one of `profile.max_concurrency` slots is free.

    Waiting counts against the caller's `timeout_s`, not against the worker's own limit: a queue
    in front of a small model is no failure of that model.
    """

    def __init__(self, worker: Worker, slots: int) -> None:
        self._worker = worker
        self._slots = slots
        self._semaphores: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    @property
    def profile(self) -> WorkerProfile:
        """Facts of the worker behind the limit."""
        return self._worker.profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task as soon as a slot is free.

        Raises:
            WorkerError: As the worker itself; a timeout too if no slot became free in time.
        """
        semaphore = self._semaphores.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._slots))
        started = time.monotonic()
        try:
            async with asyncio.timeout(request.timeout_s):
                await semaphore.acquire()
        except TimeoutError:
            raise WorkerTimeoutError(
                f"None of the {self._slots} slots of worker {self.profile.name!r} became free "
                f"within {request.timeout_s} s.",
                worker=self.profile.name,
                remedy="Raise its `max_concurrency` or the time allowed.",
            ) from None
        try:
            if request.timeout_s is not None:
                left = max(request.timeout_s - (time.monotonic() - started), 0.001)
                request = request.model_copy(update={"timeout_s": left})
            return await self._worker.run(request)
        finally:
            semaphore.release()

    async def aclose(self) -> None:
        """Close the worker behind the limit."""
        await self._worker.aclose()
