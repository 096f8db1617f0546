from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestai.arms.channels import Channel, Grant, Switchboard
from orchestai.contracts import Message, MessageBudget, MessagePayload, MessageProvenance
from orchestai.errors import ChannelError

WIDE = Grant(capabilities=frozenset({"run_code", "read_files"}), budget=MessageBudget(max_tokens=1000, max_usd=1.0))
NARROW = Grant(capabilities=frozenset({"read_files"}), budget=MessageBudget(max_tokens=100, max_usd=0.1))


def task(*capabilities: str, tokens: int | None = 10, usd: float | None = 0.01, **context: Any) -> MessagePayload:
    budget = MessageBudget(max_tokens=tokens, max_usd=usd)
    return MessagePayload(action="do", capabilities=frozenset(capabilities), budget=budget, context=context)


@pytest.fixture
def board() -> Switchboard:
    made = Switchboard()
    for arm, grant in {"coder": WIDE, "judge": NARROW, "retriever": NARROW, "executor": WIDE}.items():
        made.grant(arm, grant)
    return made


@pytest.fixture
def to_judge(board: Switchboard) -> Channel:
    return board.open("coder", "judge", types=["task_request", "artifact"])


@pytest.fixture
def to_coder(board: Switchboard) -> Channel:
    return board.open("judge", "coder", types=["verdict", "task_request"])


async def test_a_message_arrives_with_its_provenance(board: Switchboard, to_judge: Channel, to_coder: Channel) -> None:
    sent = await to_judge.send("task_request", task("read_files", code="print(1)"), sources=["artifact-1"])
    delivery = await to_judge.receive()
    message = delivery.message
    assert message == sent
    assert (message.sender, message.to, message.payload.context) == ("coder", "judge", {"code": "print(1)"})
    assert message.provenance is not None
    assert message.provenance.created_by == "coder"
    assert message.provenance.sources == ("artifact-1",)
    assert message.provenance.content_sha256 == message.payload.content_sha256
    answer = await to_coder.send("verdict", MessagePayload(context={"accepted": False}), parent=message)
    assert (answer.trace_id, answer.parent_message_id) == (sent.trace_id, sent.message_id)
    assert answer.provenance is not None
    assert answer.provenance.sources == (sent.message_id,)
    assert board.trace(answer.message_id) == (answer, sent)


async def test_only_declared_channels_carry_only_declared_types(board: Switchboard, to_judge: Channel) -> None:
    assert board.declared == (("coder", "judge"),)
    with pytest.raises(ChannelError, match="does not carry 'verdict'"):
        await to_judge.send("verdict", MessagePayload())
    undeclared = Channel(board, "coder", "executor", frozenset({"task_request"}), 4)
    with pytest.raises(ChannelError, match="not open"):
        await undeclared.send("task_request", task())
    with pytest.raises(ChannelError, match="no grant"):
        board.open("stranger", "coder", types=["event"])
    with pytest.raises(ChannelError, match="open already"):
        board.open("coder", "judge", types=["event"])
    with pytest.raises(ChannelError, match="itself"):
        board.open("coder", "coder", types=["event"])


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (task("run_code", "delete"), "delete"),
        (task(tokens=1001), "1001 tokens"),
        (task(usd=1.5), "1.5 dollars"),
        (task(tokens=None), "unlimited number of tokens"),
        (task(usd=None), "unlimited number of dollars"),
    ],
)
async def test_nobody_passes_on_what_it_does_not_have(to_judge: Channel, payload: MessagePayload, said: str) -> None:
    with pytest.raises(ChannelError, match=said):
        await to_judge.send("task_request", payload)


async def test_nor_in_slices(to_judge: Channel) -> None:
    for _ in range(2):
        await to_judge.send("task_request", task(tokens=400, usd=0.0))
    with pytest.raises(ChannelError, match="1200 tokens"):
        await to_judge.send("task_request", task(tokens=400, usd=0.0))
    await to_judge.send("task_request", task(tokens=200, usd=0.0))


async def test_a_refused_message_costs_nothing(to_judge: Channel) -> None:
    with pytest.raises(ChannelError):
        await to_judge.send("task_request", task("delete", tokens=900))
    await to_judge.send("task_request", task(tokens=1000))


async def test_a_strong_receiver_acts_with_the_weak_senders_rights(board: Switchboard) -> None:
    channel = board.open("judge", "executor", types=["task_request"])
    await channel.send("task_request", task("read_files", tokens=50))
    grant = (await channel.receive()).grant
    assert grant.capabilities == {"read_files"}, "the executor may run code, but not for the judge"
    assert (grant.budget.max_tokens, grant.budget.max_usd) == (50, 0.01)


async def test_a_weak_receiver_gains_nothing(to_judge: Channel) -> None:
    await to_judge.send("task_request", task("run_code", "read_files", tokens=1000))
    grant = (await to_judge.receive()).grant
    assert (grant.capabilities, grant.budget.max_tokens) == ({"read_files"}, 100)


async def test_what_is_done_on_behalf_of_a_message_has_no_more_than_the_message(board: Switchboard) -> None:
    asked = board.open("judge", "coder", types=["task_request"])
    passed_on = board.open("coder", "executor", types=["task_request"])
    request = await asked.send("task_request", task("read_files", tokens=50))
    with pytest.raises(ChannelError, match="cannot pass on run_code: the message"):
        await passed_on.send("task_request", task("run_code"), parent=request)
    with pytest.raises(ChannelError, match="60 tokens"):
        await passed_on.send("task_request", task("read_files", tokens=60), parent=request)
    await passed_on.send("task_request", task("read_files", tokens=30, usd=0.0), parent=request)
    with pytest.raises(ChannelError, match="over all that it passed on"):
        await passed_on.send("task_request", task("read_files", tokens=30, usd=0.0), parent=request)


async def test_only_a_request_passes_rights_on(to_judge: Channel) -> None:
    await to_judge.send("artifact", MessagePayload(context={"code": "1"}, capabilities=frozenset({"read_files"})))
    grant = (await to_judge.receive()).grant
    assert (grant.capabilities, grant.budget.max_tokens, grant.budget.max_usd) == (frozenset(), 0, 0.0)


def forged(**changes: Any) -> Message:
    payload = task()
    provenance = MessageProvenance(created_by="coder", content_sha256=payload.content_sha256)
    fields = {"sender": "coder", "to": "judge", "payload": payload, "provenance": provenance}
    return Message.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sender": "executor"}, "speaks for itself"),
        ({"to": "executor"}, "speaks for itself"),
        ({"provenance": None}, "no provenance"),
        ({"provenance": MessageProvenance(created_by="executor", content_sha256="0" * 64)}, "'executor' created it"),
        ({"payload": task("read_files")}, "not the one that its provenance"),
        ({"parent_message_id": "unknown"}, "neither sent nor received"),
    ],
)
async def test_forgeries_are_refused(to_judge: Channel, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ChannelError, match=said):
        await to_judge.forward(forged(**changes))


async def test_a_replay_is_refused(to_judge: Channel) -> None:
    message = forged()
    await to_judge.forward(message)
    with pytest.raises(ChannelError, match="sent before"):
        await to_judge.forward(message)


async def test_a_parent_must_be_ones_own_and_of_the_same_trace(board: Switchboard, to_judge: Channel) -> None:
    request = await to_judge.send("task_request", task())
    strange = board.open("retriever", "executor", types=["task_request"])
    with pytest.raises(ChannelError, match="neither sent nor received"):
        await strange.send("task_request", task(), parent=request)
    with pytest.raises(ChannelError, match="trace"):
        await to_judge.send("task_request", task(), parent=request, trace_id="another")


async def test_a_full_channel_holds_its_sender_back(board: Switchboard) -> None:
    channel = board.open("coder", "executor", types=["event"], max_pending=2)
    for _ in range(2):
        await channel.send("event", MessagePayload())
    third = asyncio.create_task(channel.send("event", MessagePayload(action="third")))
    await asyncio.sleep(0.01)
    assert not third.done()
    await channel.receive()
    await third
    await channel.receive()
    assert (await channel.receive()).message.payload.action == "third"


async def test_refusals_take_no_room(board: Switchboard) -> None:
    channel = board.open("coder", "executor", types=["task_request"], max_pending=1)
    for _ in range(3):
        with pytest.raises(ChannelError):
            await channel.send("task_request", task("delete"))
    await asyncio.wait_for(channel.send("task_request", task()), 1)


async def test_closing_tells_everybody(board: Switchboard) -> None:
    channel = board.open("coder", "executor", types=["event"], max_pending=1)
    await channel.send("event", MessagePayload(action="last"))
    senders = [asyncio.create_task(channel.send("event", MessagePayload())) for _ in range(3)]
    await asyncio.sleep(0.01)
    board.close("coder", "executor")
    for sender in senders:
        with pytest.raises(ChannelError, match="not open"):
            await asyncio.wait_for(sender, 1)
    assert (await channel.receive()).message.payload.action == "last"
    for _ in range(2):
        with pytest.raises(ChannelError, match="closed"):
            await asyncio.wait_for(channel.receive(), 1)
    assert board.declared == ()


async def test_a_smaller_grant_holds_from_then_on(board: Switchboard, to_judge: Channel) -> None:
    await to_judge.send("task_request", task("run_code", tokens=500))
    board.grant("coder", NARROW)
    with pytest.raises(ChannelError, match="run_code"):
        await to_judge.send("task_request", task("run_code"))
    with pytest.raises(ChannelError, match="510 tokens"):
        await to_judge.send("task_request", task(tokens=10))
