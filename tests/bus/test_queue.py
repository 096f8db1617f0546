"""The durable queue by itself: order, leases, failures, dead letters, waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestai.bus import DurableQueue, Lease
from orchestai.bus.queue import MAX_MESSAGE_BYTES
from orchestai.contracts import MessagePayload
from orchestai.errors import LeaseLostError, MessageError, StorageError
from tests.bus.messages import Clock, budget, message


async def take(queue: DurableQueue, to: str = "coder", *, in_order: bool = False) -> Lease:
    lease = await queue.lease(to, wait_s=0, in_order=in_order)
    assert lease is not None
    return lease


async def none_left(queue: DurableQueue, to: str = "coder", *, in_order: bool = False) -> bool:
    return await queue.lease(to, wait_s=0, in_order=in_order) is None


async def test_messages_come_in_the_order_of_acceptance_each_to_its_receiver(queue: DurableQueue) -> None:
    for text in ("a", "b"):
        await queue.enqueue(message("coder", text))
        await queue.enqueue(message("judge", text.upper()))
    assert [(await take(queue)).message.payload.action for _ in "ab"] == ["a", "b"]
    assert [(await take(queue, "judge")).message.payload.action for _ in "ab"] == ["A", "B"]
    assert await none_left(queue)


async def test_a_message_comes_as_it_was_sent(queue: DurableQueue) -> None:
    payload = MessagePayload(
        task_id="t", action="ä 🦜", context={"n": [1, None, {"x": 2.5}]}, constraints=("c",), capabilities={"code"}
    )
    sent = message(message_id="m-1", message_type="artifact").model_copy(update={"payload": payload})
    await queue.enqueue(sent)
    lease = await take(queue)
    assert lease.message == sent
    assert lease.attempt == 1


async def test_what_is_acknowledged_is_gone_and_its_text_with_it(queue: DurableQueue, tmp_path: Path) -> None:
    await queue.enqueue(message(text="very-secret-words"))
    await queue.ack(await take(queue))
    assert await none_left(queue)
    assert queue.depths() == []
    (row,) = sqlite3.connect(tmp_path / "q.sqlite").execute("SELECT state, body FROM messages").fetchall()
    assert row == ("done", "")


async def test_a_leased_message_is_hidden_until_its_time_is_over(queue: DurableQueue, clock: Clock) -> None:
    await queue.enqueue(message(text="a"))
    await queue.enqueue(message(text="b"))
    first = await take(queue)
    clock.now += 29.9
    assert (await take(queue)).message.payload.action == "b"
    clock.now += 0.2
    again = await take(queue)
    assert again.message == first.message
    assert again.attempt == 2
    with pytest.raises(LeaseLostError):
        await queue.ack(first)
    await queue.ack(again)


async def test_a_late_acknowledgement_counts_while_nobody_else_has_the_message(
    queue: DurableQueue, clock: Clock
) -> None:
    await queue.enqueue(message())
    lease = await take(queue)
    clock.now += 31
    await queue.ack(lease)
    assert await none_left(queue)


async def test_an_extended_lease_lasts(queue: DurableQueue, clock: Clock) -> None:
    await queue.enqueue(message())
    lease = await take(queue)
    clock.now += 20
    lease = await queue.extend(lease)
    clock.now += 29
    assert await none_left(queue)
    clock.now += 2
    assert (await take(queue)).attempt == 2
    with pytest.raises(LeaseLostError):
        await queue.extend(lease)


async def test_a_refused_message_comes_back_at_its_old_place_after_its_pause(queue: DurableQueue, clock: Clock) -> None:
    for text in "abc":
        await queue.enqueue(message(text=text))
    lease = await take(queue)
    assert not await queue.nack(lease, "busy", delay_s=5)
    assert (await take(queue)).message.payload.action == "b", "others do not wait for it"
    clock.now += 5
    assert (await take(queue)).message.payload.action == "a"
    assert (await take(queue)).message.payload.action == "c"


async def test_after_its_last_attempt_a_message_is_a_dead_letter(queue: DurableQueue) -> None:
    await queue.enqueue(message(text="poison"))
    assert not await queue.nack(await take(queue), "one")
    assert not await queue.nack(await take(queue), "two")
    assert await queue.nack(await take(queue), "three")
    assert await none_left(queue)
    (letter,) = await queue.dead_letters()
    assert (letter.message.payload.action, letter.attempts, letter.reason) == ("poison", 3, "three")
    assert [(reading.to, reading.state, reading.messages) for reading in queue.depths()] == [("coder", "dead", 1)]


async def test_one_that_nobody_survives_is_buried_with_the_reason(queue: DurableQueue, clock: Clock) -> None:
    await queue.enqueue(message())
    await queue.nack(await take(queue), "odd")
    for _ in range(2):
        await take(queue)
        clock.now += 31
    assert await none_left(queue)
    (letter,) = await queue.dead_letters("coder")
    assert letter.reason.startswith("not acknowledged in time, 3 times: its consumer died or is too slow")
    assert letter.reason.endswith("before that: odd")
    assert await queue.dead_letters("judge") == []


async def test_dead_letters_are_revived_or_discarded(queue: DurableQueue) -> None:
    for name in ("m1", "m2", "m3"):
        await queue.enqueue(message(text=name, message_id=name))
    for _ in range(2):
        assert await queue.nack(await take(queue), "bad input", bury=True)
    await queue.revive("m1")
    await queue.discard("m2")
    again = await take(queue)
    assert (again.message.message_id, again.attempt) == ("m1", 1), "at its old place, with all its attempts"
    assert (await take(queue)).message.message_id == "m3"
    assert await queue.dead_letters() == []
    for call in (queue.revive, queue.discard):
        with pytest.raises(MessageError, match="no dead letter"):
            await call("m2")


async def test_a_message_that_nobody_takes_in_time(queue: DurableQueue, clock: Clock) -> None:
    await queue.enqueue(message(text="news"), expires_s=10)
    await queue.enqueue(message(text="more"), expires_s=60)
    clock.now += 11
    assert (await take(queue)).message.payload.action == "more"
    (letter,) = await queue.dead_letters()
    assert letter.reason == "nobody took it in the time allowed"


async def test_a_released_message_was_never_delivered(queue: DurableQueue) -> None:
    await queue.enqueue(message())
    for _ in range(5):
        lease = await take(queue)
        assert lease.attempt == 1
        await queue.release(lease)


async def test_in_order_means_one_at_a_time_also_under_failures(queue: DurableQueue, clock: Clock) -> None:
    for text in "ab":
        await queue.enqueue(message(text=text))
    lease = await take(queue, in_order=True)
    assert await none_left(queue, in_order=True)
    await queue.nack(lease, "busy", delay_s=5)
    assert await none_left(queue, in_order=True), "the second waits for the first"
    clock.now += 5
    lease = await take(queue, in_order=True)
    assert lease.message.payload.action == "a"
    await queue.nack(lease, "never", bury=True)
    assert (await take(queue, in_order=True)).message.payload.action == "b", "a dead letter holds nobody up"


async def test_a_message_is_accepted_once(queue: DurableQueue) -> None:
    sent = message(message_id="m", text="a")
    assert await queue.enqueue(sent)
    assert not await queue.enqueue(sent)
    assert not await queue.enqueue(sent.model_copy(update={"timestamp": message().timestamp})), "sent a second time"
    with pytest.raises(MessageError, match="another message already"):
        await queue.enqueue(message(message_id="m", text="b"))
    await queue.ack(await take(queue))
    assert not await queue.enqueue(sent), "known after its end too"
    assert await none_left(queue)


async def test_ids_of_ended_messages_are_forgotten_in_the_end(queue: DurableQueue, clock: Clock) -> None:
    sent = message(message_id="m")
    await queue.enqueue(sent)
    await queue.enqueue(message(text="open"))
    await queue.ack(await take(queue))
    clock.now += 100
    assert await queue.purge(older_than_s=101) == 0
    assert await queue.purge(older_than_s=99) == 1
    assert await queue.enqueue(sent)


async def test_an_end_and_what_follows_from_it_are_one(queue: DurableQueue, clock: Clock) -> None:
    await queue.enqueue(message(message_id="m", budget=budget(100)))
    lease = await take(queue)
    follow = message("judge", "check", parent=lease.message, budget=budget(60))
    greedy = message("judge", "more", parent=lease.message, budget=budget(60))
    with pytest.raises(MessageError, match="60 tokens: 40 are left"):
        await queue.ack(lease, then=[follow, greedy])
    assert await none_left(queue, "judge"), "neither was sent"
    await queue.ack(lease, then=[follow])
    assert (await take(queue, "judge")).message == follow
    clock.now += 31
    await take(queue, "judge")
    with pytest.raises(LeaseLostError):
        await queue.ack(lease, then=[message("judge", "late", parent=lease.message, budget=budget(1))])
    assert await none_left(queue, "judge")


async def test_too_long_messages_are_refused(queue: DurableQueue) -> None:
    with pytest.raises(MessageError, match="takes more than"):
        await queue.enqueue(message(text="x" * MAX_MESSAGE_BYTES))


@pytest.mark.parametrize("options", [{"visibility_s": 0}, {"max_attempts": 0}, {"poll_s": -1}])
def test_options_are_checked(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(MessageError, match="must be > 0"):
        DurableQueue(tmp_path / "q", **options)  # type: ignore[arg-type]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[DurableQueue]:
    """Return a queue with real clocks."""
    async with DurableQueue(tmp_path / "live.sqlite", visibility_s=0.3, poll_s=0.02) as opened:
        yield opened


async def test_a_waiting_consumer_gets_the_message_when_it_comes(live: DurableQueue) -> None:
    waiting = asyncio.create_task(live.lease("coder"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await live.enqueue(message())
    started = time.monotonic()
    assert await asyncio.wait_for(waiting, 2) is not None
    assert time.monotonic() - started < 0.25


async def test_a_waiting_consumer_gets_what_another_let_go(live: DurableQueue) -> None:
    await live.enqueue(message())
    assert await live.lease("coder", wait_s=0) is not None
    lease = await asyncio.wait_for(live.lease("coder"), 3)
    assert lease is not None
    assert lease.attempt == 2
    await live.nack(lease, "later", delay_s=0.2)
    lease = await asyncio.wait_for(live.lease("coder"), 3)
    assert lease is not None
    assert lease.attempt == 3


async def test_waiting_ends_in_time(live: DurableQueue) -> None:
    started = time.monotonic()
    assert await live.lease("coder", wait_s=0.1) is None
    assert 0.09 < time.monotonic() - started < 1


async def test_many_consumers_share_the_work_without_repetition(live: DurableQueue) -> None:
    got: list[str] = []

    async def consume() -> None:
        while (lease := await live.lease("coder", wait_s=1)) is not None:
            got.append(lease.message.payload.action)
            await live.ack(lease)

    consumers = [asyncio.create_task(consume()) for _ in range(8)]
    await asyncio.gather(*(live.enqueue(message(text=str(number))) for number in range(60)))
    await asyncio.gather(*consumers)
    assert sorted(got, key=int) == [str(number) for number in range(60)]


async def test_a_consumer_that_is_cancelled_leaves_nothing_behind(live: DurableQueue) -> None:
    """Cancelled at any moment: the message is at once there for the next one."""
    for delay in range(12):
        waiting = asyncio.create_task(live.lease("coder"))
        await asyncio.sleep(0.01)
        await live.enqueue(message(text=str(delay)))
        await asyncio.sleep(delay * 0.0003)
        waiting.cancel()
        (result,) = await asyncio.gather(waiting, return_exceptions=True)
        lease = result if isinstance(result, Lease) else await live.lease("coder", wait_s=0.2)
        assert lease is not None
        assert lease.attempt == 1
        await live.ack(lease)


async def test_one_who_leaves_passes_his_turn_on(live: DurableQueue) -> None:
    first = asyncio.create_task(live.lease("coder"))
    second = asyncio.create_task(live.lease("coder"))
    await asyncio.sleep(0.05)
    await live.enqueue(message())
    first.cancel()  # it was woken for the message, and has not looked yet
    lease = await asyncio.wait_for(second, 2)
    assert lease is not None
    await asyncio.gather(first, return_exceptions=True)


async def test_messages_of_others_that_come_together_wake_as_many_as_they_are(live: DurableQueue) -> None:
    async with DurableQueue(live._database.path) as other:
        waiting = [asyncio.create_task(live.lease("coder")) for _ in range(3)]
        await asyncio.sleep(0.05)
        await other.enqueue(message("start"))
        lease = await take(other, "start")
        following = [
            message("coder", str(n), parent=lease.message, message_type="artifact") for n in range(len(waiting))
        ]
        await other.ack(lease, then=following)  # one commit, so one change to see
        leases = await asyncio.wait_for(asyncio.gather(*waiting), 2)
    assert {one.message.payload.action for one in leases if one is not None} == {"0", "1", "2"}


async def test_idle_consumers_look_rarely(live: DurableQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    run, look = live._database.run, live._database.look

    async def counted_run(operation: object) -> object:
        nonlocal looks
        looks += 1
        return await run(operation)  # type: ignore[arg-type]

    async def counted_look(operation: object) -> object:
        nonlocal looks
        looks += 1
        return await look(operation)  # type: ignore[arg-type]

    monkeypatch.setattr(live._database, "run", counted_run)
    monkeypatch.setattr(live._database, "look", counted_look)
    waiting = [asyncio.create_task(live.lease(f"r{number % 5}", wait_s=0.5)) for number in range(50)]
    await asyncio.gather(*waiting)
    assert looks <= 50 + 50 + 0.5 / 0.02 + 5, "one look each at both ends, and one a poll for all"
    looks = 0
    await asyncio.sleep(0.2)
    assert looks <= 1, "nobody waits, so nobody looks"


async def test_closing_tells_those_who_wait(tmp_path: Path) -> None:
    queue = DurableQueue(tmp_path / "q.sqlite")
    waiting = asyncio.create_task(queue.lease("coder"))
    await asyncio.sleep(0.05)
    await queue.aclose()
    await queue.aclose()
    with pytest.raises(StorageError, match="closed"):
        await asyncio.wait_for(waiting, 2)
    with pytest.raises(StorageError, match="closed"):
        await queue.enqueue(message())


async def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    async with DurableQueue(tmp_path / "q.sqlite") as queue:
        await queue.enqueue(message(text="a"))
    async with DurableQueue(tmp_path / "q.sqlite") as queue:
        assert (await take(queue)).message.payload.action == "a"


async def test_leases_of_another_start_of_the_machine_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's clock begins anew at each start: an old lease of a large number must not last for ever."""
    monkeypatch.setattr("orchestai.bus.queue.boot_id", lambda: "before")
    async with DurableQueue(tmp_path / "q.sqlite", clock=Clock(1e6)) as queue:
        await queue.enqueue(message(text="leased"))
        await queue.enqueue(message(text="delayed"))
        await take(queue)
        await queue.nack(await take(queue), "later", delay_s=1000)
        assert await none_left(queue)
    monkeypatch.setattr("orchestai.bus.queue.boot_id", lambda: "after")
    async with DurableQueue(tmp_path / "q.sqlite", clock=Clock(5.0)) as queue:
        assert [(await take(queue)).message.payload.action for _ in "12"] == ["leased", "delayed"]


async def test_each_commit_is_synced_to_disk(queue: DurableQueue) -> None:
    """A killed process loses nothing without it either, but a power cut would."""
    assert await queue._database.look(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await queue._database.look(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


def test_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(StorageError, match="cannot be written"):  # not even root may write here
        DurableQueue(Path("/proc/no-such-place") / "q.sqlite")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "q.sqlite").write_text("not a database, but long enough to have a header of its own" * 20)
    with pytest.raises(StorageError, match="cannot be written or read"):
        DurableQueue(tmp_path / "q.sqlite")


async def test_a_full_disk_refuses_the_message_that_is_too_much_and_no_other(tmp_path: Path) -> None:
    async with DurableQueue(tmp_path / "q.sqlite") as queue:
        await queue.enqueue(message(text="first"))
        await queue._database.run(lambda db: db.execute("PRAGMA max_page_count = 24").fetchone())
        sent = [message(text="x" * 200_000), message(text="small")]
        big, small = await asyncio.gather(*(queue.enqueue(one) for one in sent), return_exceptions=True)
        assert isinstance(big, StorageError)
        assert "full" in str(big)
        assert small is True
        assert [(await take(queue)).message.payload.action for _ in "12"] == ["first", "small"]
