"""Accepted once, approved where needed, resumed after a crash: through the runtime, on disk, over processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from werkzeug import Request, Response

from orchestai.app.places import executions_state
from orchestai.app.runtime import open_runtime
from orchestai.config import Project
from orchestai.contracts import Assignment, Instruction, Plan, Subtask, WorkerCatalog, WorkflowGraph
from orchestai.engine.store import ExecutionStore
from orchestai.errors import ApprovalNeededError, ExecutionStoppedError, IdempotencyError, InputError
from orchestai.logs import ExecutionSource, read_executions
from tests.app.endpoint import Endpoint, load, says

INSTRUCTION = Instruction(text="What is the capital of France?")
DIAMOND = ((), (0,), (0,), (1, 2))


def plan_over(dependencies: tuple[tuple[int, ...], ...], worker: str = "smollm2-135m") -> Plan:
    nodes = tuple(Subtask(task_type="generation", description=f"write part {n}") for n in range(len(dependencies)))
    return Plan(
        graph=WorkflowGraph(nodes=nodes, dependencies=dependencies),
        assignments=tuple(Assignment(worker=worker) for _ in nodes),
        planner="given",
    )


def test_an_equal_request_gets_the_first_ones_result(online: Project, endpoint: Endpoint) -> None:
    keyed = INSTRUCTION.model_copy(update={"idempotency_key": "k"})
    with open_runtime(online) as runtime:
        first = runtime.execute(keyed)
    with open_runtime(online) as runtime:
        again = runtime.execute(Instruction(text=keyed.text, idempotency_key="k"))
        with pytest.raises(IdempotencyError):
            runtime.execute(Instruction(text="Another question", idempotency_key="k"))
    assert again == first
    assert len(endpoint.requests) == 1
    assert len(read_executions(online.paths.execution_logs)) == 1


async def test_equal_requests_at_the_same_time_are_one(online: Project, endpoint: Endpoint) -> None:
    release = threading.Event()

    def slow(request: Request) -> Response:
        assert release.wait(10)
        return says("Paris")(request)

    endpoint.answer = slow
    keyed = INSTRUCTION.model_copy(update={"idempotency_key": "k"})
    with open_runtime(online) as runtime, open_runtime(online) as other:
        runs = [asyncio.create_task(opened.aexecute(keyed)) for opened in (runtime, runtime, other) for _ in range(5)]
        await asyncio.to_thread(endpoint.called.wait, 10)
        release.set()
        results = await asyncio.gather(*runs)
    assert len({execution.result.execution_id for execution in results}) == 1
    assert len(endpoint.requests) == 1
    assert len(read_executions(online.paths.execution_logs)) == 1


def with_effects(project: Project) -> Project:
    workers = WorkerCatalog(
        workers=tuple(worker.model_copy(update={"external_effects": True}) for worker in project.workers.profiles())
    )
    return project.model_copy(update={"workers": workers})


def test_a_plan_with_effects_waits_for_a_person_and_then_runs_once(online: Project, endpoint: Endpoint) -> None:
    project = with_effects(online)
    with open_runtime(project) as runtime:
        with pytest.raises(ApprovalNeededError, match="has effects outside") as waiting:
            runtime.execute(INSTRUCTION)
        name = waiting.value.execution_id
    assert endpoint.requests == []
    with open_runtime(project) as runtime:
        assert runtime.call(runtime.executions.resume()) == {}, "waiting is not left behind"
        with pytest.raises(InputError, match="is waiting"):
            runtime.call(runtime.executions.finish(name))
        runtime.call(runtime.executions.decide(name, approve=True, by="eva"))
        execution = runtime.call(runtime.executions.finish(name))
        with pytest.raises(InputError, match="is finished"):
            runtime.call(runtime.executions.finish(name))
    assert execution.result.answer == "Paris"
    assert len(endpoint.requests) == 1
    (record,) = read_executions(project.paths.execution_logs)
    assert record.execution_id == name


def test_a_refused_plan_never_runs_and_equal_requests_are_told(online: Project, endpoint: Endpoint) -> None:
    project = with_effects(online)
    keyed = INSTRUCTION.model_copy(update={"idempotency_key": "k"})
    with open_runtime(project) as runtime:
        with pytest.raises(ApprovalNeededError) as waiting:
            runtime.execute(keyed)
        with pytest.raises(ApprovalNeededError):
            runtime.execute(keyed)
        runtime.call(runtime.executions.decide(waiting.value.execution_id, approve=False, by="eva"))
        with pytest.raises(ExecutionStoppedError, match="rejected by eva"):
            runtime.execute(keyed)
    assert endpoint.requests == []


def test_an_unsure_plan_waits_if_the_configuration_says_so(online: Project) -> None:
    approval = online.engine.approval.model_copy(update={"below_confidence": 0.99})
    project = online.model_copy(update={"engine": online.engine.model_copy(update={"approval": approval})})
    unsure = plan_over(((),)).model_copy(update={"confidence": 0.5})
    with open_runtime(project) as runtime, pytest.raises(ApprovalNeededError, match=r"confidence 0\.50 is below 0\.99"):
        runtime.execute(INSTRUCTION, unsure)


async def test_a_cancelled_execution_keeps_what_is_done_and_is_logged(online: Project, endpoint: Endpoint) -> None:
    second = threading.Event()

    def one_then_none(request: Request) -> Response:
        number = len(endpoint.requests)
        if number > 1:
            second.set()
            time.sleep(0.4)
        return says(f"part {number}")(request)

    endpoint.answer = one_then_none
    with open_runtime(online) as runtime:
        running = asyncio.create_task(runtime.aexecute(INSTRUCTION, plan_over(((), (0,))), execution_id="e"))
        assert await asyncio.to_thread(second.wait, 10)

        assert await asyncio.to_thread(runtime.call, runtime.executions.cancel("e"))
        execution = await running
        assert not await asyncio.to_thread(runtime.call, runtime.executions.cancel("e")), "it is over"
        assert runtime.store is not None
    assert execution.result.outputs[0] == "part 1"
    assert not execution.result.completed
    (record,) = read_executions(online.paths.execution_logs)
    assert "cancelled" in str(record.execution_result["error"])
    store = ExecutionStore(executions_state(online))
    stored = store.find("e")
    store.close()
    assert stored is not None
    assert stored.status == "cancelled"


async def test_another_process_can_cancel_an_execution(online: Project, endpoint: Endpoint) -> None:
    release = threading.Event()

    def never(request: Request) -> Response:
        release.wait(20)
        return says("too late")(request)

    endpoint.answer = never
    with open_runtime(online) as runtime, open_runtime(online) as other:
        running = asyncio.create_task(runtime.aexecute(INSTRUCTION, plan_over(((), (0,))), execution_id="e"))
        assert await asyncio.to_thread(endpoint.called.wait, 10)
        assert other.executions.running == 0
        assert await asyncio.to_thread(other.call, other.executions.cancel("e"))
        execution = await asyncio.wait_for(running, 10)
        joined = await asyncio.to_thread(other.call, other.executions.join("e"))
        assert not await asyncio.to_thread(other.call, other.executions.cancel("e")), "it is over"
        assert runtime.store is not None
        assert runtime.store.to_cancel() == frozenset(), "what has ended is not asked to end"
    release.set()
    assert "cancelled" in str(execution.result.error)
    assert joined.result == execution.result


async def test_what_nobody_works_on_is_ended_without_a_call(online: Project, endpoint: Endpoint) -> None:
    left = ExecutionStore(executions_state(online))
    left.accept("e", INSTRUCTION, {}).result()
    left.start("e", plan_over(((),))).result()
    left.close()
    with open_runtime(online) as runtime:
        assert await asyncio.to_thread(runtime.call, runtime.executions.cancel("e"))
        ended = await asyncio.to_thread(runtime.call, runtime.executions.join("e"))
    assert "cancelled" in str(ended.result.error)
    assert endpoint.requests == []


async def test_a_fault_of_ours_ends_an_execution_instead_of_leaving_it_open(online: Project) -> None:
    left = ExecutionStore(executions_state(online))
    left.accept("e", INSTRUCTION, {"of another version": 1}).result()
    left.close()
    with open_runtime(online) as runtime, pytest.raises(ExecutionStoppedError, match="internal error: Validation"):
        await asyncio.wait_for(asyncio.to_thread(runtime.call, runtime.executions.join("e")), 10)


RUN = """
import sys, json
from pathlib import Path
from orchestai.app.runtime import open_runtime
from orchestai.contracts import Instruction, Plan
from tests.app.endpoint import load
configs, home, environment, plan = sys.argv[1:]
project = load(Path(configs), Path(home), **json.loads(environment))
with open_runtime(project) as runtime:
    runtime.execute(Instruction(text="Write a story in parts."), Plan.model_validate_json(plan), execution_id="e")
"""


def crash_and_resume(configs: Path, home: Path, endpoint: Endpoint, seed: int) -> None:
    """Kill a process at a random moment of an execution and let this one finish it."""
    rng = random.Random(seed)
    plan = plan_over(DIAMOND)
    calls: list[str] = []
    lock = threading.Lock()

    def count(request: Request) -> Response:
        content = request.get_json()["messages"][-1]["content"]
        part = next(n for n in range(4) if f"write part {n}" in content)
        with lock:
            calls.append(str(part))
        time.sleep(0.02)
        return says(f"text of part {part}")(request)

    endpoint.answer = count
    project = load(configs, home, **endpoint.environment)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    arguments = [str(configs), str(home), json.dumps(endpoint.environment), plan.model_dump_json()]
    process = subprocess.Popen([sys.executable, "-c", RUN, *arguments], env={**os.environ, "PYTHONPATH": path})
    state = executions_state(project) / "executions.sqlite"
    deadline = time.monotonic() + 60
    while not (state.exists() and calls) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.2))
    process.kill()
    process.wait()

    store = ExecutionStore(executions_state(project))
    left = store.find("e")
    durable = set(store.progress("e").done)
    store.close()
    logged = read_executions(project.paths.execution_logs)
    before = len(calls)
    with open_runtime(project) as runtime:

        async def resume() -> None:
            started = await runtime.executions.resume()
            await asyncio.gather(*started.values())

        runtime.call(resume())
    store = ExecutionStore(executions_state(project))
    stored = store.find("e")
    store.close()
    assert left is not None, "it was accepted before its first call"
    assert stored is not None
    assert stored.status == "finished"
    again = calls[before:]
    if left.status == "running" and not logged:
        assert not {int(part) for part in again} & durable, "what was on disk was not run again"
    else:
        assert again == []
    records = read_executions(project.paths.execution_logs)
    assert [record.execution_id for record in records] == ["e"]
    assert records[0].completed
    assert records[0].execution_result["outputs"]["-1"] == "text of part 3"


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_process_loses_and_repeats_nothing(
    configs: Path, tmp_path: Path, endpoint: Endpoint, seed: int
) -> None:
    crash_and_resume(configs, tmp_path / "home", endpoint, seed)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_killed_processes_lose_and_repeat_nothing(
    configs: Path, tmp_path: Path, endpoint: Endpoint, seed: int
) -> None:
    crash_and_resume(configs, tmp_path / "home", endpoint, seed)


def test_an_execution_that_reached_the_log_is_not_run_again(online: Project, endpoint: Endpoint) -> None:
    """The process died between the line of the log and the note of the end."""
    with open_runtime(online) as runtime:
        first = runtime.execute(INSTRUCTION, execution_id="e")
    store = ExecutionStore(executions_state(online))
    store._database.submit(
        lambda connection: connection.execute("UPDATE executions SET status='running', owner='gone'") and None
    ).result()
    store.close()
    with open_runtime(online) as runtime:
        execution = runtime.call(runtime.executions.finish("e"))
    assert execution.result.answer == first.result.answer
    assert len(endpoint.requests) == 1
    assert len(read_executions(online.paths.execution_logs)) == 1


def test_leaving_lets_short_work_finish_and_long_work_be_resumed(online: Project, endpoint: Endpoint) -> None:
    second, release = threading.Event(), threading.Event()

    def first_only(request: Request) -> Response:
        if len(endpoint.requests) > 1 and not release.is_set():
            second.set()
            time.sleep(0.3)
        return says(f"part {len(endpoint.requests)}")(request)

    endpoint.answer = first_only
    with open_runtime(online) as runtime:

        async def start_and_leave() -> int:
            run = runtime.executions.run(
                INSTRUCTION, plan_over(((), (0,))), source=ExecutionSource(), execution_id="e", detached=True
            )
            task = asyncio.create_task(run)
            assert await asyncio.to_thread(second.wait, 10)
            left = await runtime.executions.leave(0.01)
            await asyncio.gather(task, return_exceptions=True)
            return left

        assert runtime.call(start_and_leave()) == 1
    release.set()
    with open_runtime(online) as runtime:
        execution = runtime.call(runtime.executions.finish("e"))
    assert execution.result.completed
    assert sum("write part 0" in prompt for prompt in endpoint.prompts) == 1
