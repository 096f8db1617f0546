"""The judge: it accepts, sends back with a reason, gives up after a limit, and does no harm when it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from orchestai.config import EngineConfig, Project
from orchestai.contracts import AcceptanceCheck, Budget, Instruction, WorkerOutput, WorkerRequest
from orchestai.engine import Engine
from orchestai.engine.execution import Stop
from orchestai.engine.review import Reviewer
from orchestai.errors import WorkerUnavailableError
from orchestai.prompts import PromptLibrary
from tests.engine.scripted import Behaviour, ScriptedWorker, answer, make_plan

INSTRUCTION = Instruction(text="Write about bees", constraints=("one sentence",))
Make = Callable[..., Engine]


def verdicts(*given: tuple[bool, float, str], cost: float = 0.0) -> Behaviour:
    left = list(given)

    async def run(_request: WorkerRequest) -> WorkerOutput:
        accepted, score, reason = left.pop(0)
        content = json.dumps({"accepted": accepted, "score": score, "reason": reason})
        return WorkerOutput(content=content, cost=cost, metadata={"input_tokens": 5, "output_tokens": 5})

    return run


def improving(*contents: str) -> Behaviour:
    left = list(contents)

    async def run(_request: WorkerRequest) -> WorkerOutput:
        return WorkerOutput(content=left.pop(0), cost=0.5)

    return run


@pytest.fixture
def make(project: Project) -> Make:
    def make(workers: dict[str, ScriptedWorker], repairs: int = 2) -> Engine:
        return Engine(
            workers,
            PromptLibrary(project.prompts),
            project.tasks,
            EngineConfig(max_attempts=1),
            reviewer=Reviewer(find=lambda: workers["judge"], repairs=repairs, threshold=0.5),
        )

    return make


async def test_an_accepted_answer_is_given_as_it_is(make: Make) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("Bees hum.")),
        "judge": ScriptedWorker("judge", verdicts((True, 0.9, "fine"), cost=0.25)),
    }
    result = await make(workers).execute(INSTRUCTION, make_plan(((),)))
    assert result.success
    assert result.review is not None
    assert (result.review.accepted, result.review.repairs, result.review.by) == (True, 0, "model")
    assert result.total_cost == 0.25, "judging is paid too"
    asked = workers["judge"].requests[0].prompt
    for part in ("Write about bees", "Bees hum.", "one sentence"):
        assert part in asked


async def test_a_refused_answer_is_mended_with_the_reason_and_only_the_sinks_run_again(make: Make) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("material")),
        "w1": ScriptedWorker("w1", improving("too long", "Bees hum.")),
        "judge": ScriptedWorker("judge", verdicts((False, 0.2, "Too long for me."), (True, 0.8, "fine"))),
    }
    result = await make(workers).execute(INSTRUCTION, make_plan(((), (0,))))
    assert result.success
    assert result.answer == "Bees hum."
    assert len(workers["w0"].requests) == 1
    again = workers["w1"].requests[1]
    assert "too long" in again.prompt
    assert "Too long for me." in again.prompt
    assert "material" in again.prompt
    assert again.prompt_version is not None
    assert again.prompt_version.endswith("+revision@1")
    assert result.subtasks[1].attempts == 2
    assert result.subtasks[1].cost_usd == 1.0
    assert result.review is not None
    assert result.review.repairs == 1


async def test_after_the_limit_the_best_answer_is_given_and_is_no_success(make: Make) -> None:
    workers = {
        "w0": ScriptedWorker("w0", improving("bad", "better", "worse")),
        "judge": ScriptedWorker("judge", verdicts((False, 0.1, "a"), (False, 0.4, "b"), (False, 0.2, "c"))),
    }
    result = await make(workers, repairs=2).execute(INSTRUCTION, make_plan(((),)))
    assert (result.answer, result.completed, result.success) == ("better", True, False)
    assert result.review is not None
    assert (result.review.accepted, result.review.reason) == (False, "b")


async def test_a_failed_check_costs_no_judge(make: Make) -> None:
    workers = {
        "w0": ScriptedWorker("w0", improving("nothing", "bees")),
        "judge": ScriptedWorker("judge", verdicts((True, 0.9, "fine"))),
    }
    asked = INSTRUCTION.model_copy(update={"acceptance": (AcceptanceCheck(kind="contains", value="bees"),)})
    result = await make(workers).execute(asked, make_plan(((),)))
    assert result.success
    assert len(workers["judge"].requests) == 1


@pytest.mark.parametrize("content", ["no JSON", '{"accepted": true}'])
async def test_a_judge_that_fails_judges_nothing(make: Make, content: str) -> None:
    workers = {"w0": ScriptedWorker("w0", answer("Bees hum.")), "judge": ScriptedWorker("judge", answer(content))}
    result = await make(workers).execute(INSTRUCTION, make_plan(((),)))
    assert result.success
    assert result.review is not None
    assert result.review.by == "nobody"
    assert "could not be judged" in result.review.reason


async def test_a_repair_that_fails_leaves_the_answer(make: Make) -> None:
    async def once(request: WorkerRequest) -> WorkerOutput:
        if "not accepted" in request.prompt:
            raise WorkerUnavailableError("down", worker="w0")
        return WorkerOutput(content="first")

    workers = {
        "w0": ScriptedWorker("w0", once),
        "judge": ScriptedWorker("judge", verdicts((False, 0.2, "no"))),
    }
    result = await make(workers).execute(INSTRUCTION, make_plan(((),)))
    assert (result.answer, result.completed, result.success) == ("first", True, False)


async def test_judging_stays_within_the_budget(make: Make) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("Bees hum.")),
        "judge": ScriptedWorker("judge", verdicts((True, 0.9, "fine")), output_usd_per_mtok=1e6),
    }
    asked = INSTRUCTION.model_copy(update={"budget": Budget(usd=0.01)})
    result = await make(workers).execute(asked, make_plan(((),)))
    assert workers["judge"].requests == []
    assert result.review is not None
    assert result.review.by == "nobody"


async def test_a_stop_ends_the_review_and_keeps_the_answer(make: Make) -> None:
    started = asyncio.Event()

    async def hang(_request: WorkerRequest) -> WorkerOutput:
        started.set()
        await asyncio.sleep(60)
        raise AssertionError

    workers = {"w0": ScriptedWorker("w0", answer("Bees hum.")), "judge": ScriptedWorker("judge", hang)}
    stop = Stop()
    running = asyncio.create_task(make(workers).execute(INSTRUCTION, make_plan(((),)), stop=stop))
    await started.wait()
    stop.request()
    result = await running
    assert result.answer == "Bees hum."
    assert result.review is None


async def test_an_incomplete_answer_is_not_judged(make: Make) -> None:
    async def down(_request: WorkerRequest) -> WorkerOutput:
        raise WorkerUnavailableError("down", worker="w0")

    workers = {"w0": ScriptedWorker("w0", down), "judge": ScriptedWorker("judge", verdicts())}
    result = await make(workers).execute(INSTRUCTION, make_plan(((),)))
    assert result.review is None
    assert not result.completed


async def test_an_answer_that_the_worker_calls_failed_is_a_failure(make: Make) -> None:
    async def failed(_request: WorkerRequest) -> WorkerOutput:
        return WorkerOutput(content="Traceback", success=False, error="exit status 1", cost=0.5)

    workers = {"w0": ScriptedWorker("w0", failed), "judge": ScriptedWorker("judge", verdicts())}
    result = await make(workers).execute(INSTRUCTION, make_plan(((),)))
    assert not result.completed
    assert "exit status 1" in (result.error or "")
    assert result.total_cost == 0.5
