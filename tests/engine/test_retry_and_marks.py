"""Pauses, time limits, marks of simulation, media, and servers that cannot start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from orchestai.config import EngineConfig, Project
from orchestai.contracts import (
    Assignment,
    Budget,
    Instruction,
    Plan,
    Subtask,
    Worker,
    WorkerCatalog,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
    WorkflowGraph,
)
from orchestai.engine import Engine
from orchestai.errors import EndpointError, RateLimitedError
from orchestai.prompts import PromptLibrary
from tests.engine.scripted import ScriptedWorker, answer, make_plan

MakeEngine = Callable[..., Engine]
INSTRUCTION = Instruction(text="Do it")
SIMULATED = {"simulation": {}}


def limited(retry_after_s: float | None, times: int = 1) -> Callable[[WorkerRequest], object]:
    left = [times]

    async def run(_request: WorkerRequest) -> WorkerOutput:
        if left[0]:
            left[0] -= 1
            raise RateLimitedError("slow down", worker="w0", retry_after_s=retry_after_s)
        return WorkerOutput(content="at last")

    return run


async def test_the_pause_that_a_worker_asks_for_is_kept(make_engine: MakeEngine) -> None:
    workers = {"w0": ScriptedWorker("w0", limited(0.3))}
    started = time.monotonic()
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((),)))
    assert result.success
    assert 0.3 <= time.monotonic() - started < 3


async def test_a_worker_that_asks_for_an_hour_is_given_up(make_engine: MakeEngine) -> None:
    workers = {"w0": ScriptedWorker("w0", limited(3600.0))}
    async with asyncio.timeout(5):
        result = await make_engine(workers).execute(INSTRUCTION, make_plan(((),)))
    assert len(workers["w0"].requests) == 1
    assert "rate_limited: slow down" in (result.error or "")


async def test_the_hour_is_given_up_on_a_later_attempt_too(make_engine: MakeEngine) -> None:
    pauses = [0.0, 3600.0]

    async def worse(_request: WorkerRequest) -> WorkerOutput:
        raise RateLimitedError("slow down", worker="w0", retry_after_s=pauses.pop(0))

    async with asyncio.timeout(5):
        result = await make_engine({"w0": ScriptedWorker("w0", worse)}).execute(INSTRUCTION, make_plan(((),)))
    assert pauses == []
    assert not result.completed


async def test_a_pause_ends_with_the_budget(make_engine: MakeEngine) -> None:
    hurried = Instruction(text="Do it", budget=Budget(seconds=0.2))
    async with asyncio.timeout(5):
        result = await make_engine({"w0": ScriptedWorker("w0", limited(60.0))}).execute(hurried, make_plan(((),)))
    assert "deadline_exceeded" in (result.error or "")


@pytest.mark.parametrize(("own", "default", "fails"), [(0.05, 60.0, True), (60.0, 0.05, False)])
async def test_the_limit_of_a_worker_goes_before_the_default(
    make_engine: MakeEngine, own: float, default: float, fails: bool
) -> None:
    worker = ScriptedWorker("w0", answer("done", after_s=0.3), timeout_s=own)
    engine = make_engine({"w0": worker}, default_timeout_s=default, max_attempts=1)
    result = await engine.execute(INSTRUCTION, make_plan(((),)))
    assert result.completed is not fails
    assert ("within 0.05 s" in (result.error or "")) is fails


async def test_simulated_workers_are_marked_whatever_becomes_of_them(make_engine: MakeEngine) -> None:
    """Done, cut off by the deadline, and never reached."""
    workers = {
        "w0": ScriptedWorker("w0", answer("done"), **SIMULATED),
        "w1": ScriptedWorker("w1", answer("never", after_s=60), **SIMULATED),
        "w2": ScriptedWorker("w2", answer("unreached"), **SIMULATED),
        "w3": ScriptedWorker("w3", answer("real")),
    }
    hurried = Instruction(text="Do it", budget=Budget(seconds=0.2))
    result = await make_engine(workers).execute(hurried, make_plan(((), (), (1,), ())))
    assert [record.status for record in result.subtasks] == ["done", "failed", "failed", "done"]
    assert [record.simulated for record in result.subtasks] == [True, True, True, False]


class _Opening:
    """Workers behind a server that cannot start; counts how often it was tried."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def __getitem__(self, name: str) -> Worker:
        self.tried.append(name)
        raise EndpointError("The local endpoint cannot listen on 127.0.0.1:1: the port is taken.")


async def test_a_server_that_cannot_start_fails_the_execution_and_does_not_raise(project: Project) -> None:
    """The skipped child has the same worker: it must not be opened again only to look at it."""
    workers = _Opening()
    profiles = WorkerCatalog(
        workers=(
            WorkerProfile(name="local", description="d", model="m"),
            WorkerProfile.model_validate({"name": "sim", "description": "d", "model": "m", "simulation": {}}),
        )
    )
    engine = Engine(workers, PromptLibrary(project.prompts), project.tasks, EngineConfig(), profiles=profiles)
    result = await engine.execute(INSTRUCTION, make_plan(((), (0,), (0,)), ["local", "local", "sim"]))
    assert [record.status for record in result.subtasks] == ["failed", "skipped", "skipped"]
    assert [record.simulated for record in result.subtasks] == [False, False, True]
    assert "endpoint: The local endpoint cannot listen" in (result.error or "")
    assert workers.tried == ["local"]


async def test_a_worker_that_the_catalog_lost_fails_its_subtask_only(make_engine: MakeEngine) -> None:
    class Lookup(dict[str, ScriptedWorker]):
        def __missing__(self, name: str) -> ScriptedWorker:
            raise EndpointError(f"Unknown worker {name!r}.")

    workers = Lookup(w1=ScriptedWorker("w1", answer("fine")))
    engine = make_engine(workers)
    result = await engine.execute(INSTRUCTION, make_plan(((), (), (0,)), ["gone", "w1", "gone"]))
    assert [record.status for record in result.subtasks] == ["failed", "done", "skipped"]
    assert result.answer == "fine"


async def test_media_go_to_the_subtasks_that_look_and_listen(make_engine: MakeEngine) -> None:
    workers = {name: ScriptedWorker(name, answer(name)) for name in ("look", "write")}
    inputs = {"text": "a caption", "image": "a.png", "image_2": "b.png", "audio": "c.wav"}
    plan = Plan(
        graph=WorkflowGraph.chain((Subtask(task_type="image_analysis"), Subtask(task_type="generation"))),
        assignments=(Assignment(worker="look"), Assignment(worker="write")),
        planner="given",
    )
    await make_engine(workers).execute(Instruction(text="Describe it", inputs=inputs), plan)
    look, write = workers["look"].requests[0], workers["write"].requests[0]
    assert look.inputs == {"image": "a.png", "image_2": "b.png", "audio": "c.wav"}
    assert write.inputs == {}
    assert "a caption" in write.prompt
    assert "b.png" not in write.prompt
