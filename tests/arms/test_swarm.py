from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from chat_server import CALL_USD, ChatServer

from orchestai.arms.judge import JudgeArm
from orchestai.arms.swarm import Swarm
from orchestai.contracts import Modality, SimulationProfile, WorkerOutput, WorkerRequest
from orchestai.errors import InputError, TransientWorkerError, WorkerError, WorkerTimeoutError
from orchestai.workers import OpenAIWorker

Chat = Callable[..., OpenAIWorker]
REQUEST = WorkerRequest(task_type="question_answering", prompt="Capital of France?")


async def test_a_vote_over_real_calls(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": ["Paris"], "b": ["Lyon"], "c": ["paris."]}
    output = await Swarm([chat("a"), chat("b"), chat("c")]).run(REQUEST)
    assert output.content == "Paris"
    assert output.metadata["confidence"] == pytest.approx(2 / 3)
    assert output.metadata["agreed"] == ["a", "c"]
    assert output.metadata["quorum_met"] is True
    assert (output.metadata["calls"], output.cost) == (3, pytest.approx(3 * CALL_USD))


async def test_they_work_in_parallel(chat: Chat, server: ChatServer) -> None:
    server.answers |= {name: [(0.4, "x")] for name in "abc"}
    workers = [chat(name) for name in "abc"]
    started = time.monotonic()
    await Swarm(workers).run(REQUEST)
    assert time.monotonic() - started < 1.1


async def test_failures_do_not_sink_it(chat: Chat, server: ChatServer) -> None:
    class Bug:
        profile = chat("bug").profile

        async def run(self, request: WorkerRequest) -> WorkerOutput:
            raise ZeroDivisionError("bug")

        async def aclose(self) -> None: ...

    class Refusal(Bug):
        profile = chat("refusal").profile

        async def run(self, request: WorkerRequest) -> WorkerOutput:
            return WorkerOutput(success=False, error="exit code 1", cost=0.5)

    server.answers |= {"a": [500], "b": ["Paris"]}
    result = await Swarm([chat("a"), Bug(), Refusal(), chat("b")]).consult(REQUEST)
    assert result.consensus is not None
    assert result.consensus.content == "Paris"
    assert [c.status for c in result.contributions] == ["failed", "failed", "failed", "answered"]
    assert result.contributions[0].error is not None
    assert result.contributions[0].error.startswith("worker_unavailable")
    assert result.contributions[1].error == "ZeroDivisionError: bug"
    assert not result.quorum_met
    assert result.usage.cost_usd == pytest.approx(0.5 + CALL_USD), "what failed was paid too"


async def test_a_quorum_is_enough_and_stragglers_are_cut_off(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": ["Paris"], "b": ["Paris"], "c": [(20, "Lyon")]}
    started = time.monotonic()
    result = await Swarm([chat("c"), chat("a"), chat("b")], quorum=2).consult(REQUEST)
    assert time.monotonic() - started < 5
    assert result.quorum_met
    assert [c.status for c in result.contributions] == ["cancelled", "answered", "answered"]
    await asyncio.sleep(0.2)
    assert server.cut_off == ["c"]


async def test_a_failure_does_not_count_for_the_quorum(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": [500], "b": [(0.2, "Paris")], "c": [(20, "x")]}
    result = await Swarm([chat("a"), chat("b"), chat("c")], quorum=1).consult(REQUEST)
    assert result.consensus is not None
    assert result.consensus.content == "Paris"


async def test_at_the_deadline_what_has_come_must_do(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": ["Paris"], "b": [(20, "Lyon")]}
    result = await Swarm([chat("a"), chat("b")], deadline_s=0.5).consult(REQUEST)
    assert result.consensus is not None
    assert (result.consensus.content, result.quorum_met) == ("Paris", False)
    assert [c.status for c in result.contributions] == ["answered", "late"]
    short = REQUEST.model_copy(update={"timeout_s": 0.3})
    server.answers["a"] = [(20, "x")]
    with pytest.raises(WorkerTimeoutError):
        await Swarm([chat("a"), chat("b")], deadline_s=60).run(short)


async def test_an_arm_that_ignores_its_cancellation_holds_nobody_up(chat: Chat, server: ChatServer) -> None:
    release = asyncio.Event()

    class Stubborn:
        profile = chat("stubborn").profile

        async def run(self, request: WorkerRequest) -> WorkerOutput:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return WorkerOutput(content="late")

        async def aclose(self) -> None: ...

    server.answers["a"] = ["Paris"]
    started = time.monotonic()
    result = await Swarm([Stubborn(), chat("a")], quorum=1).consult(REQUEST)
    assert time.monotonic() - started < 3
    assert result.consensus is not None
    assert result.consensus.content == "Paris"
    release.set()
    await asyncio.sleep(0)


async def test_cancelling_the_swarm_cuts_off_its_arms(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": [(20, "x")], "b": [(20, "x")]}
    task = asyncio.create_task(Swarm([chat("a"), chat("b")]).run(REQUEST))
    while len(server.asked["a"]) + len(server.asked["b"]) < 2:  # noqa: ASYNC110 - the server is no coroutine of ours
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.2)
    assert sorted(server.cut_off) == ["a", "b"]


async def test_all_fail(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": [500], "b": [400]}
    with pytest.raises(TransientWorkerError, match=r"a: worker_unavailable.*b: worker_request"):
        await Swarm([chat("a"), chat("b")]).run(REQUEST)
    with pytest.raises(WorkerError) as caught:
        await Swarm([chat("b")]).run(REQUEST)
    assert not isinstance(caught.value, TransientWorkerError)


async def test_averages(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": ["10"], "b": ["about 20"], "c": ["many"]}
    swarm = Swarm([chat("a"), chat("b"), chat("c")], method="average")
    assert (await swarm.run(REQUEST)).content == pytest.approx(15.0)
    with pytest.raises(WorkerError, match="no numbers"):
        await Swarm([chat("c")], method="average").run(REQUEST)


async def test_learned_weights_decide(chat: Chat, server: ChatServer) -> None:
    server.answers |= {"a": ["Lyon"], "b": ["Lyon"], "c": ["Paris"]}
    weights = {"a": 0.2, "b": 0.2, "c": 0.9}
    output = await Swarm([chat(n) for n in "abc"], method="learned", weights=weights).run(REQUEST)
    assert (output.content, output.metadata["confidence"]) == ("Paris", pytest.approx(0.9 / 1.3))


async def test_the_best_by_a_judge(chat: Chat, server: ChatServer, verdict) -> None:
    judge = JudgeArm(chat("judge"))

    async def say(request: WorkerRequest, output: WorkerOutput):
        return await judge.judge(request.prompt, output.content)

    server.answers |= {"a": ["short"], "b": ["long"], "c": ["broken"]}
    server.answers["judge"] = lambda prompt: (
        500 if "broken" in prompt else verdict(True, 0.8 if "long" in prompt else 0.6)
    )
    result = await Swarm([chat(n) for n in "abc"], method="best_of", judge=say).consult(REQUEST)
    assert result.consensus is not None
    assert (result.consensus.content, result.consensus.arms, result.consensus.confidence) == ("long", ("b",), 0.8)
    assert result.usage.calls == 5, "three answers, two verdicts"


async def test_a_judge_that_fails_leaves_the_surest_answer(chat: Chat, server: ChatServer) -> None:
    class Sure:
        def __init__(self, name: str, confidence: float) -> None:
            self.profile = chat(name).profile
            self.confidence = confidence

        async def run(self, request: WorkerRequest) -> WorkerOutput:
            return WorkerOutput(content=self.profile.name, metadata={"confidence": self.confidence})

        async def aclose(self) -> None: ...

    judge = JudgeArm(chat("judge"))

    async def say(request: WorkerRequest, output: WorkerOutput):
        return await judge.judge(request.prompt, output.content)

    server.answers["judge"] = [500]
    result = await Swarm([Sure("a", 0.3), Sure("b", 0.7)], method="best_of", judge=say).consult(REQUEST)
    assert result.consensus is not None
    assert (result.consensus.content, result.consensus.confidence) == ("b", 0.7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quorum": 3}, "between 1 and 2"),
        ({"quorum": 0}, "between 1 and 2"),
        ({"method": "best_of"}, "needs a judge"),
        ({"method": "learned"}, "needs weights"),
        ({"method": "learned", "weights": {"a": 1.0}}, "lacks the arm 'b'"),
        ({"method": "learned", "weights": {"a": 0.0, "b": 0.0}}, "not all 0"),
        ({"method": "learned", "weights": {"a": -1.0, "b": 2.0}}, ">= 0"),
    ],
)
def test_settings_are_checked(chat: Chat, settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Swarm([chat("a"), chat("b")], **settings)  # type: ignore[arg-type]


def test_members_are_checked(chat: Chat) -> None:
    with pytest.raises(InputError, match="no arms"):
        Swarm([])
    with pytest.raises(InputError, match="several arms called 'a'"):
        Swarm([chat("a"), chat("a")])
    with pytest.raises(InputError, match="modality in common"):
        Swarm([chat("a"), chat("b", modalities=(Modality.VISION,))])


def test_its_profile_is_that_of_all(chat: Chat) -> None:
    swarm = Swarm([chat("a"), chat("b", typical_latency_ms=9000.0, simulation=SimulationProfile())])
    assert swarm.profile.cost_usd(1_000_000, 1_000_000) == pytest.approx(6.0)
    assert swarm.profile.typical_latency_ms == 9000.0
    assert swarm.profile.simulated
