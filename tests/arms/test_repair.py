from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from chat_server import CALL_USD, ChatServer

from orchestai.arms.judge import JudgeArm
from orchestai.arms.repair import Attempt, RepairResult, Verdict, repair_until_accepted
from orchestai.contracts import WorkerOutput, WorkerRequest
from orchestai.errors import DeadlineExceededError, WorkerUnavailableError
from orchestai.workers import OpenAIWorker

Chat = Callable[..., OpenAIWorker]


async def loop(chat: Chat, *, repairs: int = 2, seconds: float | None = None) -> RepairResult:
    """The loop as the engine uses it: a chat worker writes, another judges, both over HTTP."""
    writer, judge = chat("writer"), JudgeArm(chat("judge"))

    async def produce(before: Attempt | None) -> WorkerOutput:
        prompt = "Write." if before is None else f"Mend: {before.output.content} ({before.verdict.reason})"
        return await writer.run(WorkerRequest(task_type="generation", prompt=prompt))

    async def say(output: WorkerOutput) -> Verdict:
        return await judge.judge("Write.", output.content)

    return await repair_until_accepted(produce, say, repairs=repairs, seconds=seconds)


async def test_repaired_with_the_reason_until_accepted(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one", "two", "three"]
    server.answers["judge"] = [verdict(False, 0.2, "too low"), verdict(True, 0.9)]
    result = await loop(chat)
    assert (result.accepted, result.output.content, result.stopped_by) == (True, "two", "accepted")
    assert server.prompt("writer") == "Mend: one (too low)"
    assert [json.loads(server.prompt("judge", n))["answer"] for n in (0, 1)] == ["one", "two"]
    assert (result.usage.calls, result.usage.cost_usd) == (4, pytest.approx(4 * CALL_USD))


async def test_the_best_so_far_is_returned(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one", "two", "three", "four"]
    server.answers["judge"] = [verdict(False, s) for s in (0.1, 0.4, 0.3)]
    result = await loop(chat, repairs=2)
    assert (result.accepted, result.output.content, result.stopped_by) == (False, "two", "limit")
    assert len(result.attempts) == len(server.asked["writer"]) == 3


async def test_of_equals_the_later(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one", "two"]
    server.answers["judge"] = [verdict(False, 0.3)]
    assert (await loop(chat, repairs=1)).output.content == "two"


async def test_no_repairs_means_one_answer(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one"]
    server.answers["judge"] = [verdict(False, 0.3)]
    assert len((await loop(chat, repairs=0)).attempts) == 1


async def test_the_same_answer_again_ends_it(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one"]
    server.answers["judge"] = [verdict(False, 0.3)]
    result = await loop(chat, repairs=5)
    assert (result.stopped_by, len(server.asked["writer"]), len(server.asked["judge"])) == ("stalled", 2, 1)
    assert result.usage.calls == 3


async def test_a_judge_that_fails_does_not_lose_the_answer(chat: Chat, server: ChatServer) -> None:
    server.answers["writer"] = ["one"]
    server.answers["judge"] = [500]
    result = await loop(chat)
    assert (result.accepted, result.output.content, result.stopped_by) == (False, "one", "judge_failed")
    assert result.verdict.by == "nobody"
    assert result.error is not None
    assert result.error.startswith("worker_unavailable")


async def test_a_repair_that_fails_does_not_lose_the_answer(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one", 500]
    server.answers["judge"] = [verdict(False, 0.3)]
    result = await loop(chat)
    assert (result.output.content, result.stopped_by) == ("one", "producer_failed")


async def test_the_first_failure_is_raised(chat: Chat, server: ChatServer) -> None:
    server.answers["writer"] = [500]
    with pytest.raises(WorkerUnavailableError):
        await loop(chat)


async def test_the_time_covers_everything(chat: Chat, server: ChatServer, verdict) -> None:
    server.answers["writer"] = ["one", (5, "two")]
    server.answers["judge"] = [verdict(False, 0.3)]
    result = await loop(chat, seconds=0.5)
    assert (result.output.content, result.stopped_by) == ("one", "deadline")
    server.answers |= {"writer": ["one"], "judge": [(5, "")]}
    result = await loop(chat, seconds=0.5)
    assert (result.output.content, result.verdict.by, result.stopped_by) == ("one", "nobody", "deadline")
    server.answers["writer"] = [(5, "one")]
    with pytest.raises(DeadlineExceededError):
        await loop(chat, seconds=0.2)
    await asyncio.sleep(0.1)
    assert "writer" in server.cut_off, "the deadline reaches the socket"
