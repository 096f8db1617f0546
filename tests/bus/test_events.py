"""Publish and subscribe: who hears what, and what a slow subscriber costs whom."""

from __future__ import annotations

import asyncio

import pytest

from orchestai.bus import Events, MessageBus
from orchestai.contracts import Message
from orchestai.errors import MessageError
from tests.bus.messages import message


def event(topic: str, text: str = "") -> Message:
    return message(topic, text, message_type="event")


@pytest.fixture
def events() -> Events:
    return Events()


async def test_each_hears_its_topics(events: Events) -> None:
    with events.subscribe("found", "lost") as some, events.subscribe() as all_, events.subscribe("other") as other:
        assert await events.publish(event("found", "a")) == 2
        assert await events.publish(event("lost", "b")) == 2
        assert [(await some.get()).payload.action for _ in "ab"] == ["a", "b"]
        assert [(await all_.get()).payload.action for _ in "ab"] == ["a", "b"]
        assert other.pending == 0
    assert await events.publish(event("found")) == 0


async def test_only_events_are_published(events: Events) -> None:
    with pytest.raises(MessageError, match="Only events are published, got a 'task_request'"):
        await events.publish(message("x"))
    with pytest.raises(MessageError, match="`size` must be >= 1, got 0"):
        events.subscribe(size=0)


async def test_a_slow_subscriber_loses_the_oldest_and_harms_nobody(events: Events) -> None:
    slow = events.subscribe("t", name="slow", size=3)
    fast = events.subscribe("t", name="fast", size=10)
    for number in range(5):
        await asyncio.wait_for(events.publish(event("t", str(number))), 1)
    assert slow.dropped == 2
    assert fast.dropped == 0
    assert [(await slow.get()).payload.action for _ in range(3)] == ["2", "3", "4"]
    assert fast.pending == 5
    assert events.dropped() == {"slow": 2, "fast": 0}
    slow.close()
    assert events.dropped() == {"slow": 2, "fast": 0}, "a counter does not go back"


async def test_a_subscriber_may_let_publishers_wait(events: Events) -> None:
    blocking = events.subscribe("t", size=2, when_full="block")
    other = events.subscribe("t", size=9)
    for number in range(2):
        await events.publish(event("t", str(number)))
    publishing = [asyncio.create_task(events.publish(event("t", str(number)))) for number in (2, 3, 4)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in publishing)
    assert other.pending == 5, "the others have it already"
    assert [(await asyncio.wait_for(blocking.get(), 1)).payload.action for _ in range(5)] == ["0", "1", "2", "3", "4"]
    await asyncio.gather(*publishing)
    assert blocking.dropped == 0


async def test_a_publisher_that_gives_up_leaves_no_event(events: Events) -> None:
    blocking = events.subscribe("t", size=1, when_full="block")
    await events.publish(event("t", "a"))
    giving_up = asyncio.create_task(events.publish(event("t", "b")))
    waiting = asyncio.create_task(events.publish(event("t", "c")))
    await asyncio.sleep(0.01)
    giving_up.cancel()
    assert (await blocking.get()).payload.action == "a"
    assert (await asyncio.wait_for(blocking.get(), 1)).payload.action == "c"
    await waiting
    with pytest.raises(asyncio.CancelledError):
        await giving_up


async def test_closing_lets_everybody_go(events: Events) -> None:
    blocking = events.subscribe("t", size=1, when_full="block")
    await events.publish(event("t", "a"))
    publishing = asyncio.create_task(events.publish(event("t", "b")))
    await asyncio.sleep(0.01)
    blocking.close()
    await asyncio.wait_for(publishing, 1)
    assert (await blocking.get()).payload.action == "a", "what waits can still be read"
    with pytest.raises(MessageError, match="closed"):
        await blocking.get()
    reader = events.subscribe("t")
    reading = asyncio.create_task(reader.get())
    await asyncio.sleep(0.01)
    reader.close()
    with pytest.raises(MessageError, match="closed"):
        await asyncio.wait_for(reading, 1)


async def test_iteration_ends_with_the_subscription(events: Events) -> None:
    got: list[str] = []
    subscription = events.subscribe("t")

    async def read() -> None:
        got.extend([one.payload.action async for one in subscription])

    reading = asyncio.create_task(read())
    for text in "abc":
        await events.publish(event("t", text))
    await asyncio.sleep(0.01)
    events.close()
    await asyncio.wait_for(reading, 1)
    assert got == ["a", "b", "c"]


async def test_several_readers_share_one_subscription(events: Events) -> None:
    subscription = events.subscribe("t", size=100)
    reading = [asyncio.create_task(subscription.get()) for _ in range(6)]
    await asyncio.sleep(0)
    reading[0].cancel()
    for number in range(5):
        await events.publish(event("t", str(number)))
    got = await asyncio.wait_for(asyncio.gather(*reading[1:]), 1)
    assert sorted(one.payload.action for one in got) == ["0", "1", "2", "3", "4"]


async def test_a_bus_without_a_file_has_no_queue() -> None:
    async with MessageBus() as bus:
        hearing = bus.events.subscribe("t")
        await bus.send(event("t", "a"))
        assert (await hearing.get()).payload.action == "a"
        with pytest.raises(MessageError, match="no durable queue"):
            await bus.send(message("coder"))
