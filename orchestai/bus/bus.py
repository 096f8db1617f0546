"""All three patterns over one ledger of budgets."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestai.bus.budgets import Budgets
from orchestai.bus.events import Events
from orchestai.bus.queue import DurableQueue
from orchestai.bus.requests import Requests
from orchestai.contracts import Message
from orchestai.errors import MessageError


class MessageBus:
    """The bus of one process: `requests`, `events`, and with a file the durable `queue`.

    A message's budget is checked against its parent's, whichever way the two travel. An instance belongs to one
    event loop; close it at the end, or use it as an async context manager.

    Args:
        path: File of the durable queue; null leaves it out.
        options: For the queue; see `DurableQueue`.
    """

    def __init__(self, path: Path | None = None, **options: Any) -> None:
        budgets = Budgets()
        self._queue = DurableQueue(path, budgets=budgets, **options) if path is not None else None
        self.events = Events()
        self.requests = Requests(budgets, self._queue.spend if self._queue is not None else None)

    @property
    def queue(self) -> DurableQueue:
        """The durable queue.

        Raises:
            MessageError: The bus was opened without a file for it.
        """
        if self._queue is None:
            raise MessageError("This bus has no durable queue.", remedy="Open it with a path.")
        return self._queue

    async def send(self, message: Message) -> None:
        """Send a message the way its kind asks for: events are published, everything else goes into the queue.

        Raises:
            MessageError: It is not allowed; see `DurableQueue.enqueue` and `Events.publish`.
        """
        if message.message_type == "event":
            await self.events.publish(message)
        else:
            await self.queue.enqueue(message)

    async def aclose(self) -> None:
        """End subscriptions and write what waits."""
        self.events.close()
        if self._queue is not None:
            await self._queue.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
