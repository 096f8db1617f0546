"""A consumer: ends, follow-ups, failures, time limits, cancellation, lost leases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from orchestai.bus import DurableQueue, Lease, consume
from orchestai.bus.budgets import follow_up
from orchestai.contracts import Message, MessageBudget, MessagePayload
from orchestai.errors import InputError, MessageError, WorkerUnavailableError
from tests.bus.messages import budget, message


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[DurableQueue]:
    async with DurableQueue(tmp_path / "q.sqlite", visibility_s=0.3, max_attempts=3, poll_s=0.02) as opened:
        yield opened


@contextlib.asynccontextmanager
async def consuming(
    queue: DurableQueue, handle: Callable[[Lease], Awaitable[Iterable[Message] | None]], **options: Any
) -> AsyncIterator[None]:
    task = asyncio.create_task(consume(queue, "coder", handle, pause_s=0.01, **options))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the state is on disk
            await asyncio.sleep(0.01)


def is_empty(queue: DurableQueue, *states: str) -> Callable[[], bool]:
    return lambda: not [one for one in queue.depths() if one.state in (states or ("ready", "leased"))]


async def test_what_a_handler_returns_is_sent_with_the_end(queue: DurableQueue) -> None:
    async def handle(lease: Lease) -> list[Message]:
        payload = MessagePayload(action="check")
        return [follow_up(lease.message, "judge", payload, left=MessageBudget(), message_type="verdict")]

    await queue.enqueue(message(message_id="m"))
    async with consuming(queue, handle):
        lease = await queue.lease("judge", wait_s=3)
    assert lease is not None
    assert lease.message.parent_message_id == "m"
    assert is_empty(queue, "ready")()


async def test_a_failure_is_tried_again_and_bad_input_is_not(
    queue: DurableQueue, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    async def handle(lease: Lease) -> None:
        text = lease.message.payload.action
        calls.append(text)
        if text == "bad":
            raise InputError("no such file")
        if text == "bug":
            raise KeyError("x")
        if lease.attempt < 3:
            raise WorkerUnavailableError("down", worker="w")

    for text in ("bad", "flaky", "bug"):
        await queue.enqueue(message(text=text))
    with caplog.at_level(logging.ERROR):
        async with consuming(queue, handle):
            await until(is_empty(queue))
    assert sorted(calls) == ["bad", *["bug"] * 3, *["flaky"] * 3]
    reasons = {letter.message.payload.action: letter.reason for letter in await queue.dead_letters()}
    assert reasons == {"bad": "invalid_input: no such file", "bug": "KeyError: 'x'"}
    assert "is a dead letter" in caplog.text


async def test_the_time_of_the_budget_holds(queue: DurableQueue) -> None:
    async def handle(lease: Lease) -> None:
        if lease.message.payload.action == "own":
            raise TimeoutError("the socket")
        await asyncio.sleep(30)

    await queue.enqueue(message(text="slow", budget=budget(seconds=0.05)))
    await queue.enqueue(message(text="own", budget=budget(seconds=20)))
    async with consuming(queue, handle):
        await until(is_empty(queue))
    reasons = {letter.message.payload.action: letter.reason for letter in await queue.dead_letters()}
    assert reasons == {"slow": "deadline_exceeded: its 0.05 s are over", "own": "TimeoutError: the socket"}


async def test_long_work_keeps_its_message(queue: DurableQueue) -> None:
    calls = 0

    async def handle(_lease: Lease) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1.0)  # more than three times the visibility

    await queue.enqueue(message())
    async with consuming(queue, handle, parallel=2):
        await until(is_empty(queue))
    assert calls == 1


async def test_cancellation_gives_the_message_back_untouched(queue: DurableQueue) -> None:
    began = asyncio.Event()

    async def handle(_lease: Lease) -> None:
        began.set()
        await asyncio.sleep(60)

    await queue.enqueue(message())
    async with consuming(queue, handle):
        await began.wait()
    lease = await queue.lease("coder", wait_s=0)
    assert lease is not None
    assert lease.attempt == 1


async def test_a_handler_that_cancels_itself_does_not_end_the_consumer(queue: DurableQueue) -> None:
    done: list[str] = []

    async def handle(lease: Lease) -> None:
        if lease.message.payload.action == "odd":
            raise asyncio.CancelledError
        done.append(lease.message.payload.action)

    await queue.enqueue(message(text="odd"))
    await queue.enqueue(message(text="fine"))
    async with consuming(queue, handle):
        await until(is_empty(queue))
    assert done == ["fine"]
    (letter,) = await queue.dead_letters()
    assert letter.reason == "cancelled: the handler gave up"


async def test_work_on_a_message_that_was_lost_is_stopped(
    queue: DurableQueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = asyncio.Event()

    async def handle(lease: Lease) -> None:
        if lease.attempt > 1:
            return
        # Somebody else gets the message, as after a machine that slept.
        await queue._database.run(lambda db: db.execute("UPDATE messages SET lease = 'another'").rowcount)
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    await queue.enqueue(message())
    async with consuming(queue, handle):
        await asyncio.wait_for(stopped.wait(), 3)
        await until(is_empty(queue))
    assert "given to another" in caplog.text


async def test_in_order_is_kept_under_failures(queue: DurableQueue) -> None:
    seen: list[str] = []

    async def handle(lease: Lease) -> None:
        seen.append(lease.message.payload.action)
        if lease.message.payload.action == "a" and lease.attempt < 3:
            raise WorkerUnavailableError("down", worker="w")

    for text in "abc":
        await queue.enqueue(message(text=text))
    async with consuming(queue, handle, in_order=True):
        await until(is_empty(queue))
    assert seen == ["a", "a", "a", "b", "c"]


@pytest.mark.parametrize("options", [{"parallel": 0}, {"parallel": 2, "in_order": True}])
async def test_options_that_contradict_each_other(queue: DurableQueue, options: dict[str, Any]) -> None:
    async def handle(_lease: Lease) -> None:
        return None

    with pytest.raises(MessageError, match="`parallel` must be 1"):
        await consume(queue, "coder", handle, **options)
