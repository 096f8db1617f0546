"""An event loop in a thread of its own, so that hosts of every kind can use the asynchronous core."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class HostLoop:
    """The running event loop of a host that has one already, such as a server.

    Raises:
        RuntimeError: No loop runs in this thread.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.current_thread()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this loop."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `coroutine` on the loop; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` on the loop and wait; an interrupt cancels it and is passed on."""
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await `last` on the loop, which goes on: its tasks are the host's. Not to be called on the loop itself."""
        if not self.loop.is_closed():
            self.submit(last()).result()


class LoopThread(HostLoop):
    """Runs one event loop until closed."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="orchestai-loop", daemon=True)
        self._thread.start()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what still runs, await `last` on the loop, stop it and wait for its thread."""
        try:
            self.submit(self._wind_up(last)).result()
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _wind_up(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await last()
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
