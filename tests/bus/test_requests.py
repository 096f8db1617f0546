"""Request and response: identity, deadline, errors, limits."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestai.bus import Received, Requests
from orchestai.contracts import MessagePayload
from orchestai.errors import DeadlineExceededError, MessageError, NoArmError, OverloadedError
from tests.bus.messages import budget, message


@pytest.fixture
def requests() -> Requests:
    return Requests()


async def echo(received: Received) -> MessagePayload:
    return MessagePayload(action=received.message.payload.action.upper())


async def test_an_answer_belongs_to_its_request(requests: Requests) -> None:
    requests.serve("coder", echo)
    asked = message("coder", "hello")
    reply = await requests.request(asked)
    assert (reply.sender, reply.to, reply.message_type) == ("coder", "orchestrator", "task_response")
    assert (reply.trace_id, reply.parent_message_id) == (asked.trace_id, asked.message_id)
    assert reply.payload.action == "HELLO"
    assert reply.provenance is not None
    assert reply.provenance.content_sha256 == reply.payload.content_sha256


async def test_nobody_answers(requests: Requests) -> None:
    requests.serve("judge", echo)
    with pytest.raises(MessageError, match=r"Nobody answers to 'coder'\. Served: judge"):
        await requests.request(message("coder"))


async def test_a_name_is_served_once_and_can_be_given_up(requests: Requests) -> None:
    with requests.serve("coder", echo) as first, pytest.raises(MessageError, match="served already"):
        requests.serve("coder", echo)
    with requests.serve("coder", echo):
        first.close()
        assert (await requests.request(message("coder", "x"))).payload.action == "X", "the old one closes only itself"


async def test_the_deadline_holds_and_the_handler_is_cancelled(requests: Requests) -> None:
    ended = asyncio.Event()

    async def slow(_received: Received) -> MessagePayload:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        raise AssertionError

    requests.serve("coder", slow)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"No answer of 'coder' within 0\.0\d+ s \(trace trace-1\)"):
        await requests.request(message("coder"), deadline_s=0.05)
    with pytest.raises(DeadlineExceededError, match=r"within 0\.0\d+ s"):
        await requests.request(message("coder", budget=budget(seconds=0.03)))
    assert time.monotonic() - started < 2
    await asyncio.wait_for(ended.wait(), 1)


async def test_the_deadline_holds_against_a_handler_that_ignores_it(requests: Requests) -> None:
    let_go = asyncio.Event()

    async def stubborn(_received: Received) -> MessagePayload:
        while not let_go.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return MessagePayload()

    requests.serve("coder", stubborn)
    with pytest.raises(DeadlineExceededError):
        await asyncio.wait_for(requests.request(message("coder"), deadline_s=0.05), 2)
    let_go.set()
    await asyncio.sleep(0.1)


async def test_deadline_budget_and_trace_go_down_the_chain(requests: Requests) -> None:
    seen: list[Received] = []

    async def leaf(received: Received) -> MessagePayload:
        seen.append(received)
        return MessagePayload(action="leaf")

    async def middle(received: Received) -> MessagePayload:
        seen.append(received)
        await asyncio.sleep(0.05)
        reply = await received.ask("leaf", MessagePayload(action="x", budget=budget(30, seconds=100)))
        assert received.left.max_tokens == 70
        return reply.payload

    requests.serve("middle", middle)
    requests.serve("leaf", leaf)
    root = message("middle", budget=budget(100, seconds=5))
    assert (await requests.request(root)).payload.action == "leaf"
    first, second = seen
    assert second.message.trace_id == root.trace_id
    assert second.message.parent_message_id == root.message_id
    assert second.message.sender == "middle"
    assert second.message.payload.budget.max_tokens == 30
    assert second.message.payload.budget.max_time_seconds is not None
    assert second.message.payload.budget.max_time_seconds <= 4.95
    assert second.deadline <= first.deadline + 0.001


async def test_an_inner_request_cannot_outlast_the_outer_one(requests: Requests) -> None:
    """Also where the handler sends a message of its own, without a parent and with a longer time."""

    async def leaf(received: Received) -> MessagePayload:
        return MessagePayload(action=f"{received.remaining_s:.3f}")

    async def middle(_received: Received) -> MessagePayload:
        return (await requests.request(message("leaf", sender="middle"), deadline_s=60)).payload

    requests.serve("middle", middle)
    requests.serve("leaf", leaf)
    reply = await requests.request(message("middle"), deadline_s=1.5)
    assert float(reply.payload.action) <= 1.5
    reply = await requests.request(message("leaf"), deadline_s=40)
    assert float(reply.payload.action) > 30, "a deadline ends with its request"


async def test_errors_of_ours_pass_and_others_are_translated(requests: Requests) -> None:
    async def refuse(_received: Received) -> MessagePayload:
        raise NoArmError("compile", offered=[])

    async def bug(_received: Received) -> MessagePayload:
        raise KeyError("x")

    async def gives_up(_received: Received) -> MessagePayload:
        raise asyncio.CancelledError

    for name, handler in (("a", refuse), ("b", bug), ("c", gives_up)):
        requests.serve(name, handler)
    with pytest.raises(NoArmError):
        await requests.request(message("a"))
    with pytest.raises(MessageError, match="'b' failed: KeyError: 'x'"):
        await requests.request(message("b"))
    with pytest.raises(MessageError, match="'c' gave the request up"):
        await requests.request(message("c"))


async def test_one_who_goes_away_takes_the_work_along(requests: Requests) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(_received: Received) -> MessagePayload:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        raise AssertionError

    requests.serve("coder", slow)
    asking = asyncio.create_task(requests.request(message("coder")))
    await began.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(ended.wait(), 1)


async def test_too_many_requests_are_turned_away(requests: Requests) -> None:
    running = 0
    most = 0
    let_go = asyncio.Event()

    async def work(_received: Received) -> MessagePayload:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await let_go.wait()
        running -= 1
        return MessagePayload()

    requests.serve("coder", work, parallel=2, max_waiting=3)
    asking = [asyncio.create_task(requests.request(message("coder"))) for _ in range(5)]
    await asyncio.sleep(0.02)
    with pytest.raises(OverloadedError):
        await requests.request(message("coder"))
    let_go.set()
    assert len(await asyncio.gather(*asking)) == 5
    assert most == 2
    await requests.request(message("coder"))
