"""No message carries more than its parent, whichever way the two travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai.bus import MessageBus, Received
from orchestai.bus.budgets import Budgets, follow_up
from orchestai.contracts import Message, MessageBudget, MessagePayload
from orchestai.errors import DeadlineExceededError, MessageError
from tests.bus.messages import Clock, budget, message

PARENT = message("planner", message_id="p", budget=budget(100, seconds=10, usd=1.0), capabilities=("code", "read"))
FITTING = budget(100, seconds=10, usd=1.0)


def child(asked: MessageBudget, **fields: Any) -> Message:
    return message("coder", parent=PARENT, budget=asked, **fields)


@pytest.fixture
def budgets(clock: Clock) -> Budgets:
    opened = Budgets(clock)
    opened.remember(PARENT)
    return opened


def test_all_of_it_may_be_passed_on_once(budgets: Budgets) -> None:
    assert budgets.spend(child(FITTING))
    with pytest.raises(MessageError, match="1 tokens: 0 are left"):
        budgets.spend(child(budget(1, seconds=1, usd=0.0)))
    assert budgets.left("p") == budget(0, seconds=10, usd=0.0)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (budget(101, seconds=10, usd=1.0), "101 tokens: 100 are left"),
        (budget(100, seconds=10.5, usd=1.0), "10.5 seconds: 10 are left"),
        (budget(100, seconds=10, usd=1.01), "1.01 dollars: 1 are left"),
        (budget(None, seconds=10, usd=1.0), "an unlimited number of tokens"),
        (budget(100, seconds=None, usd=1.0), "an unlimited number of seconds"),
        (budget(100, seconds=10, usd=None), "an unlimited number of dollars"),
    ],
)
def test_nothing_may_exceed_the_parent(budgets: Budgets, asked: MessageBudget, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        budgets.spend(child(asked))
    assert budgets.left("p") == FITTING, "a refused message costs nothing"


def test_the_parents_seconds_run(budgets: Budgets, clock: Clock) -> None:
    clock.now += 4
    late = child(budget(1, seconds=10, usd=0.1))
    assert budgets.spend(late), "seconds run while it is written and sent"
    assert budgets.remember(late) == clock.now + 6, "but its deadline is that of its parent"
    assert budgets.left(late.message_id) == budget(1, seconds=6, usd=0.1)
    short = child(budget(1, seconds=2, usd=0.1))
    assert budgets.remember(short) == clock.now + 2
    clock.now += 6
    with pytest.raises(DeadlineExceededError, match="time of the message p is over"):
        budgets.spend(child(budget(1, seconds=0.001, usd=0.1)))


def test_an_answer_asks_for_nothing_but_cannot_carry_more_either(budgets: Budgets) -> None:
    assert budgets.spend(child(MessageBudget(), message_type="task_response"))
    assert budgets.spend(child(budget(100), message_type="artifact"))
    assert budgets.left("p") == FITTING
    with pytest.raises(MessageError, match="101 tokens"):
        budgets.spend(child(budget(101), message_type="task_response"))


def test_capabilities_and_traces_are_kept(budgets: Budgets) -> None:
    assert budgets.spend(child(budget(1, seconds=1, usd=0.0), capabilities=("code",)))
    with pytest.raises(MessageError, match="cannot pass on network"):
        budgets.spend(child(budget(1, seconds=1, usd=0.0), capabilities=("code", "network")))
    with pytest.raises(MessageError, match="belongs to the trace other"):
        budgets.spend(child(budget(1, seconds=1, usd=0.0), trace_id="other"))


def test_unknown_parents_are_said(budgets: Budgets) -> None:
    assert not budgets.spend(message("coder", parent=message("x", message_id="?")))
    assert budgets.left("?") is None


def test_a_follow_up_is_cut_to_what_is_left() -> None:
    payload = MessagePayload(action="a", budget=budget(500, usd=0.25), capabilities=frozenset({"code", "network"}))
    written = follow_up(PARENT, "coder", payload, left=budget(40, seconds=3, usd=0.5))
    assert written.payload.budget == budget(40, seconds=3, usd=0.25)
    assert written.payload.capabilities == {"code"}
    assert (written.sender, written.to, written.trace_id, written.parent_message_id) == (
        "planner",
        "coder",
        "trace-1",
        "p",
    )
    assert written.provenance is not None
    assert written.provenance.content_sha256 == written.payload.content_sha256


def test_the_same_step_has_the_same_id() -> None:
    def write(key: str | None, to: str = "coder") -> str:
        return follow_up(PARENT, to, MessagePayload(), left=MessageBudget(), key=key).message_id

    assert write("step-1") == write("step-1")
    assert len({write("step-1"), write("step-2"), write("step-1", "judge"), write(None), write(None)}) == 5


limits = st.one_of(st.none(), st.integers(0, 50))


@given(limits, st.lists(limits, max_size=8))
def test_children_together_never_exceed_their_parent(limit: int | None, asked: list[int | None]) -> None:
    budgets = Budgets()
    parent = message("planner", budget=budget(limit))
    budgets.remember(parent)
    passed: list[int | None] = []
    for tokens in asked:
        one = message("coder", parent=parent, budget=budget(tokens))
        before = budgets.left(parent.message_id)
        try:
            budgets.spend(one)
        except MessageError:
            assert budgets.left(parent.message_id) == before
        else:
            passed.append(tokens)
    if limit is not None:
        assert None not in passed
        assert sum(tokens or 0 for tokens in passed) <= limit
        refused = [tokens for tokens in asked if tokens is not None and tokens > limit]
        assert not set(refused) & set(passed)
    else:
        assert passed == asked


async def test_a_request_that_follows_from_a_queued_message(tmp_path: Path) -> None:
    async with MessageBus(tmp_path / "q.sqlite") as bus:

        async def answer(received: Received) -> MessagePayload:
            return MessagePayload(action=str(received.left.max_tokens))

        bus.requests.serve("coder", answer)
        await bus.queue.enqueue(message("planner", message_id="p", budget=budget(100)))
        lease = await bus.queue.lease("planner", wait_s=0)
        assert lease is not None
        reply = await bus.requests.request(message("coder", parent=lease.message, budget=budget(70)))
        assert reply.payload.action == "70"
        assert await bus.queue.left("p") == budget(30)
        with pytest.raises(MessageError, match="31 tokens: 30 are left"):
            await bus.requests.request(message("coder", parent=lease.message, budget=budget(31)))
        with pytest.raises(MessageError, match="31 tokens: 30 are left"):
            await bus.queue.enqueue(message("coder", parent=lease.message, budget=budget(31)))
        await bus.queue.enqueue(message("coder", parent=lease.message, budget=budget(30)))


async def test_a_queued_message_that_follows_from_a_request(tmp_path: Path) -> None:
    async with MessageBus(tmp_path / "q.sqlite") as bus:

        async def plan(received: Received) -> MessagePayload:
            first = received.follow_up("coder", MessagePayload(action="a", budget=budget(60)), key="1")
            assert await bus.queue.enqueue(first)
            assert not await bus.queue.enqueue(first), "the same step again"
            assert received.left.max_tokens == 40, "and paid for once"
            second = received.follow_up("coder", MessagePayload(action="b"), key="2")
            await bus.queue.enqueue(second)
            assert received.left.max_tokens == 0
            with pytest.raises(MessageError, match="takes more than"):
                await bus.queue.enqueue(message("x", "y" * 2_000_000, parent=received.message, message_type="artifact"))
            return MessagePayload(action="planned")

        bus.requests.serve("planner", plan)
        reply = await bus.requests.request(message("planner", budget=budget(100)))
        assert reply.payload.action == "planned"
        tokens = []
        while (lease := await bus.queue.lease("coder", wait_s=0)) is not None:
            tokens.append(lease.message.payload.budget.max_tokens)
        assert tokens == [60, 40]


async def test_a_chain_across_restarts(tmp_path: Path) -> None:
    """What was passed on is on disk: a consumer that died and starts again has no more than what is left."""
    async with MessageBus(tmp_path / "q.sqlite") as bus:
        await bus.queue.enqueue(message("planner", message_id="p", budget=budget(100)))
        lease = await bus.queue.lease("planner", wait_s=0)
        assert lease is not None
        await bus.queue.enqueue(message("coder", parent=lease.message, budget=budget(80)))
        await bus.queue.release(lease)
    async with MessageBus(tmp_path / "q.sqlite") as bus:
        lease = await bus.queue.lease("planner", wait_s=0)
        assert lease is not None
        with pytest.raises(MessageError, match="21 tokens: 20 are left"):
            await bus.queue.enqueue(message("coder", parent=lease.message, budget=budget(21)))


async def test_a_request_without_a_known_parent_is_refused(tmp_path: Path) -> None:
    async with MessageBus(tmp_path / "q.sqlite") as bus:

        async def answer(_received: Received) -> MessagePayload:
            return MessagePayload()

        bus.requests.serve("coder", answer)
        stray = message("coder", parent=message("planner"))
        with pytest.raises(MessageError, match="does not know"):
            await bus.queue.enqueue(stray)
        with pytest.raises(MessageError, match="does not know"):
            await bus.requests.request(stray)
        late = message("coder", parent=message("planner"), message_type="task_response")
        assert await bus.queue.enqueue(late), "an answer passes nothing on"
