"""Request and response within a process: a deadline that holds, and a budget that cannot grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from orchestai.bus.budgets import Budgets, follow_up, unknown_parent
from orchestai.contracts import Message, MessageBudget, MessagePayload, MessageProvenance
from orchestai.errors import DeadlineExceededError, MessageError, OrchestAIError, OverloadedError

Handler = Callable[["Received"], Awaitable[MessagePayload]]
Spend = Callable[[Message], Awaitable[bool]]

DEADLINE_S = 30.0

_deadline: ContextVar[float | None] = ContextVar("orchestai_request_deadline", default=None)


class Received:
    """A request as its handler sees it.

    Attributes:
        message: The request.
        deadline: When the answer is too late, on the monotonic clock.
    """

    def __init__(self, requests: Requests, message: Message, deadline: float) -> None:
        self._requests = requests
        self.message = message
        self.deadline = deadline

    @property
    def remaining_s(self) -> float:
        """Seconds until the answer is too late."""
        return max(self.deadline - time.monotonic(), 0.0)

    @property
    def left(self) -> MessageBudget:
        """What may still be passed on."""
        return self._requests.left(self.message)

    def follow_up(self, to: str, payload: MessagePayload, *, key: str | None = None) -> Message:
        """Write a message that follows from this one, with what is left at most; see `budgets.follow_up`."""
        return follow_up(self.message, to, payload, left=self.left, key=key)

    async def ask(self, to: str, payload: MessagePayload) -> Message:
        """Ask somebody else on this request's behalf: in its trace, within its budget and its deadline.

        Raises:
            OrchestAIError: As `Requests.request`.
        """
        return await self._requests.request(self.follow_up(to, payload), deadline_s=self.remaining_s)


class Serving:
    """A registered handler; a context manager that takes it back."""

    def __init__(
        self, name: str, handler: Handler, parallel: int, max_waiting: int, withdraw: Callable[[], None]
    ) -> None:
        self.handler = handler
        self.name = name
        self._slots = asyncio.Semaphore(parallel)
        self._waiting = 0
        self._max_waiting = max_waiting
        self._withdraw = withdraw

    async def run(self, received: Received) -> MessagePayload:
        """Deal with one request as soon as a slot is free.

        Raises:
            OverloadedError: Too many wait already.
        """
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise OverloadedError(worker=self.name, waiting=self._waiting)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self.handler(received)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Take no more requests; those that run go on."""
        self._withdraw()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Requests:
    """Who answers what. An instance belongs to one event loop.

    Args:
        budgets: Purses of messages that were delivered in this process.
        spend: Asks elsewhere for the purse of a parent; says whether it is known there.
    """

    def __init__(self, budgets: Budgets | None = None, spend: Spend | None = None) -> None:
        self._budgets = budgets if budgets is not None else Budgets()
        self._spend = spend
        self._serving: dict[str, Serving] = {}
        self._running: set[asyncio.Task[MessagePayload]] = set()

    def serve(self, name: str, handler: Handler, *, parallel: int = 16, max_waiting: int = 64) -> Serving:
        """Answer requests to `name` from now on.

        Args:
            name: The receiver.
            handler: Returns the answer's payload, or raises.
            parallel: Requests at a time.
            max_waiting: Requests that may wait; further ones are turned away.

        Raises:
            MessageError: Somebody answers to that name already.
        """
        if name in self._serving:
            raise MessageError(f"{name!r} is served already.", remedy="Close the other one first.")

        def withdraw() -> None:
            if self._serving.get(name) is serving:
                del self._serving[name]

        serving = self._serving[name] = Serving(name, handler, parallel, max_waiting, withdraw)
        return serving

    def left(self, message: Message) -> MessageBudget:
        """Return what a message may still pass on."""
        return self._budgets.left(message.message_id) or message.payload.budget

    async def request(self, message: Message, *, deadline_s: float = DEADLINE_S) -> Message:
        """Send a request and wait for the answer.

        The deadline is the earliest of `deadline_s`, the message's own `max_time_seconds`, and the deadline of the
        request that the caller is answering. It holds even if the handler ignores it.

        Raises:
            MessageError: Nobody answers to that name; the message carries more than its parent has left; or the
                handler failed with an error of its own making.
            DeadlineExceededError: No answer in time.
            OverloadedError: Too many requests wait already.
            OrchestAIError: The handler's.
        """
        serving = self._serving.get(message.to)
        if serving is None:
            raise MessageError(
                f"Nobody answers to {message.to!r}.",
                remedy=f"Served: {', '.join(sorted(self._serving)) or '(nobody)'}.",
            )
        await self._pay(message)
        now = time.monotonic()
        ends = (now + deadline_s, self._budgets.remember(message), _deadline.get())
        deadline = min(end for end in ends if end is not None)
        seconds = max(deadline - now, 0.0)
        received = Received(self, message, deadline)
        payload = await self._run(serving, received, seconds)
        return _answer(message, payload)

    async def _pay(self, message: Message) -> None:
        if message.parent_message_id is None or self._budgets.spend(message):
            return
        known = self._spend is not None and await self._spend(message)
        if not known and message.message_type == "task_request":
            raise unknown_parent(message)

    async def _run(self, serving: Serving, received: Received, seconds: float) -> MessagePayload:
        token = _deadline.set(received.deadline)
        try:
            task = asyncio.create_task(serving.run(received))
        finally:
            _deadline.reset(token)
        self._running.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait([task], timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise DeadlineExceededError(
                f"No answer of {serving.name!r} within {seconds:g} s (trace {received.message.trace_id})."
            )
        try:
            return task.result()
        except OrchestAIError:
            raise
        except asyncio.CancelledError:
            raise MessageError(f"{serving.name!r} gave the request up.") from None
        except Exception as error:
            raise MessageError(f"{serving.name!r} failed: {type(error).__name__}: {error}") from error

    def _forget(self, task: asyncio.Task[MessagePayload]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: the one who asked may be gone


def _answer(request: Message, payload: MessagePayload) -> Message:
    return Message.model_validate(
        {
            "sender": request.to,
            "to": request.sender,
            "message_type": "task_response",
            "payload": payload,
            "trace_id": request.trace_id,
            "parent_message_id": request.message_id,
            "provenance": MessageProvenance(
                created_by=request.to, sources=(request.message_id,), content_sha256=payload.content_sha256
            ),
        }
    )
