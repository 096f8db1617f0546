"""Publish and subscribe within a process: every subscriber has a bounded queue of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self

from orchestai.contracts import Message
from orchestai.errors import MessageError

WhenFull = Literal["drop_oldest", "block"]


class Subscription:
    """One subscriber's events; an async iterator, and a context manager that ends it.

    Attributes:
        name: For metrics and people.
        topics: Which events it gets; empty means all.
        dropped: Events that it lost because it was too slow.
    """

    def __init__(self, events: Events, name: str, topics: frozenset[str], size: int, when_full: WhenFull) -> None:
        self._events = events
        self._size = size
        self._when_full = when_full
        self._messages: deque[Message] = deque()
        self._readers: deque[asyncio.Future[None]] = deque()
        self._writers: deque[tuple[asyncio.Future[None], Message]] = deque()
        self._closed = False
        self.name = name
        self.topics = topics
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Events that wait to be read."""
        return len(self._messages)

    async def get(self) -> Message:
        """Return the next event.

        Raises:
            MessageError: The subscription is closed, and everything is read.
        """
        while not self._messages:
            if self._closed:
                raise MessageError(f"The subscription {self.name!r} is closed.")
            await _wait_in(self._readers)
        message = self._messages.popleft()
        while self._writers and len(self._messages) < self._size:
            done, waiting = self._writers.popleft()
            if not done.done():  # its message takes the room at once, so that nobody overtakes it
                self._messages.append(waiting)
                done.set_result(None)
        if self._messages:
            _let_one_go(self._readers)
        return message

    def close(self) -> None:
        """Get no more events; what waits can still be read, and blocked publishers go on."""
        self._closed = True
        self._events._leave(self)
        for future in (*self._readers, *(done for done, _ in self._writers)):
            if not future.done():
                future.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        if self._closed and not self._messages:
            raise StopAsyncIteration
        try:
            return await self.get()
        except MessageError:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wants(self, message: Message) -> bool:
        return not self.topics or message.to in self.topics

    def _offer(self, message: Message) -> bool:
        """Put an event in its place; False means that its publisher has to wait for room."""
        if len(self._messages) >= self._size:
            if self._when_full == "block":
                return False
            self._messages.popleft()
            self.dropped += 1
        self._put(message)
        return True

    async def _put_when_free(self, message: Message) -> None:
        if self._closed:
            return
        if len(self._messages) < self._size:
            self._put(message)
            return
        entry = (asyncio.get_running_loop().create_future(), message)
        self._writers.append(entry)
        try:
            await entry[0]
        finally:
            if entry in self._writers:
                self._writers.remove(entry)

    def _put(self, message: Message) -> None:
        self._messages.append(message)
        _let_one_go(self._readers)


class Events:
    """Who hears what. An event's topic is its `to`. An instance belongs to one event loop."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._names = 0
        self._left: dict[str, int] = {}

    def subscribe(
        self, *topics: str, name: str | None = None, size: int = 256, when_full: WhenFull = "drop_oldest"
    ) -> Subscription:
        """Hear events from now on.

        Args:
            topics: Which; none means all.
            name: For metrics and people; made when not given.
            size: Events that may wait to be read.
            when_full: Lose the oldest and count it, or let publishers of these topics wait.

        Raises:
            MessageError: `size` is below 1.
        """
        if size < 1:
            raise MessageError(f"`size` must be >= 1, got {size}.")
        self._names += 1
        subscription = Subscription(self, name or f"subscriber-{self._names}", frozenset(topics), size, when_full)
        self._subscriptions.append(subscription)
        return subscription

    async def publish(self, message: Message) -> int:
        """Give an event to all who hear its topic, and say how many they are.

        Nobody waits for a slow subscriber but the publisher, and he only for those who asked to block; the others
        have the event by then.

        Raises:
            MessageError: It is not an event.
        """
        if message.message_type != "event":
            raise MessageError(
                f"Only events are published, got a {message.message_type!r}.",
                remedy="Use `request` or `enqueue` for what one receiver is to do.",
            )
        hearers = [subscription for subscription in self._subscriptions if subscription._wants(message)]
        full = [subscription for subscription in hearers if not subscription._offer(message)]
        for subscription in full:
            await subscription._put_when_free(message)
        return len(hearers)

    def dropped(self) -> Mapping[str, int]:
        """Return the events lost so far, by subscriber; made for `telemetry.sources.events_dropped`."""
        counts = dict(self._left)
        for subscription in list(self._subscriptions):
            counts[subscription.name] = counts.get(subscription.name, 0) + subscription.dropped
        return counts

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def _leave(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            if subscription.dropped:  # a counter never goes back, so what is gone still counts
                self._left[subscription.name] = self._left.get(subscription.name, 0) + subscription.dropped


async def _wait_in(line: deque[asyncio.Future[None]]) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    line.append(future)
    try:
        await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled():
            _let_one_go(line)  # our turn came as we left: it is the next one's
        raise
    finally:
        if future in line:
            line.remove(future)


def _let_one_go(line: deque[asyncio.Future[None]]) -> None:
    while line:
        future = line.popleft()
        if not future.done():
            future.set_result(None)
            return
