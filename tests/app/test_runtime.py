"""The runtime: from any loop and thread, logged before it is acknowledged, closed without leaks."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from werkzeug import Request, Response

from orchestai.app.executions import Execution
from orchestai.app.runtime import build_runtime, open_runtime
from orchestai.config import Project, RoutingConfig
from orchestai.contracts import (
    AcceptanceCheck,
    Assignment,
    Budget,
    ExecutionEvent,
    Instruction,
    Plan,
    Subtask,
    WorkflowGraph,
)
from orchestai.errors import StorageError
from orchestai.logs import ExecutionSource, find_execution, read_executions
from tests.app.endpoint import Endpoint, load, refuses, says, write_project
from tests.planner.scripted_llm import proposal

INSTRUCTION = Instruction(text="What is the capital of France?")


def logged(project: Project) -> list[str]:
    return [record.execution_id for record in read_executions(project.paths.execution_logs)]


def test_an_answer_of_a_real_endpoint_is_logged_with_all_that_learning_needs(
    online: Project, endpoint: Endpoint
) -> None:
    asked = INSTRUCTION.model_copy(
        update={"acceptance": (AcceptanceCheck(kind="contains", value="paris"),), "tenant": "acme"}
    )
    with open_runtime(online) as runtime:
        execution = runtime.execute(asked, source=ExecutionSource(kind="test"), execution_id="e-1")
        record = find_execution(online.paths.execution_logs, "e-1")
        assert record is not None, "it is on disk before the runtime is closed"
    assert execution.result.answer == "Paris"
    assert execution.result.success
    assert record.instruction == INSTRUCTION.text
    assert record.tenant == "acme"
    assert record.source.kind == "test"
    assert record.planner_outputs.planner == "rules"
    assert record.planner_outputs.workers == ("smollm2-135m",)
    assert [check.held for check in record.checks] == [True]
    assert record.subtasks[0].input_tokens == 12
    assert record.subtasks[0].output_tokens == 3
    assert not record.simulated
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-test-0123456789"
    assert endpoint.requests[0]["model"] == "test-model"


def test_an_execution_planned_by_the_llm_is_logged_too(configs: Path, tmp_path: Path, endpoint: Endpoint) -> None:
    """The LLM gives no confidence; the log must take that."""
    project = load(write_project(tmp_path / "p", planner={"fallback": "llm"}), tmp_path, **endpoint.environment)
    answers = [proposal([[], [0]]), "one", "two"]

    def answer(request: Request) -> Response:
        import json

        content = answers.pop(0)
        return says(content if isinstance(content, str) else json.dumps(content))(request)

    endpoint.answer = answer
    with open_runtime(project) as runtime:
        execution = runtime.execute(INSTRUCTION)
    assert execution.plan.planner == "llm"
    assert execution.result.answer == "two"
    (record,) = read_executions(project.paths.execution_logs)
    assert record.planner_outputs.planner == "llm"
    assert record.planner_outputs.confidence is None


def test_the_log_is_written_before_the_answer_is_given(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = build_runtime(project, mock=True)
    assert runtime.logger is not None

    def full(_record: object) -> None:
        raise StorageError("No space left on device.", path="/logs")

    monkeypatch.setattr(runtime.logger, "_submit", full)
    try:
        with pytest.raises(StorageError, match="No space left"):
            runtime.execute(INSTRUCTION)
    finally:
        runtime.close()


def test_an_execution_whose_subtasks_ran_elsewhere_can_be_logged(project: Project) -> None:
    """As Dagster does: each sub-task in a step, the log in the last one."""
    with open_runtime(project, mock=True, log=False) as runtime:
        plan = runtime.plan(INSTRUCTION)
        record, output = runtime.call(runtime.engine.run_subtask(INSTRUCTION, plan, 0, {}))
        result = runtime.engine.assemble(
            INSTRUCTION, plan, {0: record}, {0: output}, execution_id="stepwise", total_latency_ms=5.0
        )
        runtime.log(INSTRUCTION, plan, result, ExecutionSource())
    assert not project.paths.execution_logs.exists(), "this runtime has no log"
    with open_runtime(project, learned=False) as runtime:
        runtime.log(INSTRUCTION, plan, result, ExecutionSource(kind="live"))
    (found,) = read_executions(project.paths.execution_logs)
    assert (found.execution_id, found.simulated, found.completed) == ("stepwise", True, True)


def test_without_log_nothing_is_written(project: Project) -> None:
    with open_runtime(project, mock=True, log=False) as runtime:
        assert runtime.execute(INSTRUCTION).result.completed
    assert not project.paths.execution_logs.exists()


def test_mock_mode_needs_no_network_and_marks_everything(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("mock mode opened a socket")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.socket.bind", refuse)
    (tmp_path / "cat.png").write_bytes(b"png")
    pictured = Instruction(
        text="Describe the image, then translate the description into French.",
        inputs={"image": str(tmp_path / "cat.png")},
    )
    with open_runtime(project, mock=True) as runtime:
        result = runtime.execute(pictured).result
    assert result.completed
    assert len(result.subtasks) == 2
    assert all(subtask.simulated for subtask in result.subtasks)
    (record,) = read_executions(project.paths.execution_logs)
    assert record.simulated


def test_mock_mode_plays_endpoints_of_the_user_as_well(online: Project, endpoint: Endpoint) -> None:
    with open_runtime(online, mock=True) as runtime:
        result = runtime.execute(INSTRUCTION).result
    assert result.simulated
    assert endpoint.requests == []


def test_sync_async_and_two_loops_may_be_mixed(online: Project) -> None:
    """Loop A, then sync, then loop B after A is gone, then a loop in another thread, then sync again."""
    runtime = build_runtime(online)

    async def ask(name: str) -> Execution:
        return await runtime.aexecute(INSTRUCTION, execution_id=name)

    async def two() -> list[Execution]:
        return await asyncio.gather(ask("a-1"), ask("a-2"))

    assert [execution.result.answer for execution in asyncio.run(two())] == ["Paris", "Paris"]
    assert runtime.execute(INSTRUCTION, execution_id="sync-1").result.success
    assert asyncio.run(ask("b-1")).result.success
    other = threading.Thread(target=lambda: asyncio.run(ask("c-1")))
    other.start()
    assert runtime.execute(INSTRUCTION, execution_id="sync-2").result.success
    other.join(10)
    runtime.close()
    assert sorted(logged(online)) == ["a-1", "a-2", "b-1", "c-1", "sync-1", "sync-2"]


async def test_sync_calls_work_beside_a_running_loop(project: Project) -> None:
    """As in a notebook, whose loop always runs."""
    runtime = build_runtime(project, mock=True)
    assert (await runtime.aexecute(INSTRUCTION)).result.completed
    assert runtime.execute(INSTRUCTION).result.completed
    assert (await runtime.aplan(INSTRUCTION)).planner == "rules"
    await runtime.aclose()


def test_waiting_inside_a_callback_is_refused_and_not_a_deadlock(project: Project) -> None:
    refusals: list[str] = []
    with open_runtime(project, mock=True) as runtime:

        def on_event(_event: ExecutionEvent) -> None:
            if not refusals:
                try:
                    runtime.plan(INSTRUCTION)
                except RuntimeError as error:
                    refusals.append(str(error))

        runtime.execute(INSTRUCTION, on_event=on_event)
    assert refusals
    assert "cannot wait" in refusals[0]


async def test_cancelling_the_awaiting_task_cancels_the_call(online: Project, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (time.sleep(0.3), says("late")(request))[1]
    runtime = build_runtime(online)
    task = asyncio.create_task(runtime.aexecute(INSTRUCTION))
    assert await asyncio.to_thread(endpoint.called.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await runtime.aclose()
    assert logged(online) == [], "what was cancelled is no execution"


def test_an_interrupt_cancels_what_runs_and_is_passed_on(online: Project, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (time.sleep(0.4), says("late")(request))[1]
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        endpoint.called.wait(5)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), open_runtime(online) as runtime:
        runtime.execute(INSTRUCTION)
    assert time.monotonic() - started < 5
    thread.join()
    assert len(endpoint.requests) == 1
    assert logged(online) == []
    assert "orchestai-loop" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("used", [False, True])
def test_closing_twice_is_allowed_and_leaves_no_thread(project: Project, used: bool) -> None:
    runtime = build_runtime(project, mock=True)
    if used:
        runtime.execute(INSTRUCTION)
    runtime.close()
    runtime.close()
    asyncio.run(runtime.aclose())
    assert "orchestai-loop" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="closed"):
        runtime.execute(INSTRUCTION)


def test_closing_from_another_thread_ends_what_runs(online: Project, endpoint: Endpoint) -> None:
    endpoint.answer = lambda request: (time.sleep(0.3), says("late")(request))[1]
    runtime = build_runtime(online)
    outcome: list[BaseException | Execution] = []

    def run() -> None:
        try:
            outcome.append(runtime.execute(INSTRUCTION))
        except BaseException as error:  # a cancellation is the expected outcome
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert endpoint.called.wait(5)
    runtime.close()
    thread.join(5)
    assert len(outcome) == 1, "the caller must not wait for ever"
    assert isinstance(outcome[0], CancelledError)


@pytest.mark.parametrize("below", [False, True])
def test_a_home_that_cannot_be_written_is_a_storage_error(configs: Path, tmp_path: Path, below: bool) -> None:
    (tmp_path / "file").write_text("not a folder")
    home = tmp_path / "file" / "home" if below else tmp_path / "file"
    with pytest.raises(StorageError) as caught, open_runtime(load(configs, home), mock=True):
        raise AssertionError("it must not open")
    assert str(home) in str(caught.value)


def test_a_read_only_home_is_a_storage_error(configs: Path) -> None:
    """Not even root writes below /proc."""
    with pytest.raises(StorageError), open_runtime(load(configs, Path("/proc/self")), mock=True):
        raise AssertionError("it must not open")


def test_an_llm_worker_whose_server_cannot_start_leaves_planning_to_the_rules(tmp_path: Path, taken_port: int) -> None:
    configs = write_project(
        tmp_path / "p",
        planner={"fallback": "llm", "llm_worker": "smollm2-135m"},
        endpoint={"port": taken_port},
    )
    with open_runtime(load(configs, tmp_path / "home"), log=False) as runtime:
        plan = runtime.plan(INSTRUCTION)
    assert plan.planner == "rules"
    assert "LLM planner: endpoint: " in (plan.fallback_reason or "")


def test_a_server_that_cannot_start_is_a_logged_failure(tmp_path: Path, taken_port: int) -> None:
    """Two steps on the same worker: the second is skipped, and its worker must not be opened for the log."""
    configs = write_project(tmp_path / "p", endpoint={"port": taken_port})
    project = load(configs, tmp_path / "home")
    plan = Plan(
        graph=WorkflowGraph.chain((Subtask(task_type="generation"), Subtask(task_type="translation"))),
        assignments=(Assignment(worker="smollm2-135m"),) * 2,
        planner="given",
    )
    with open_runtime(project) as runtime:
        result = runtime.execute(INSTRUCTION, plan).result
    assert [record.status for record in result.subtasks] == ["failed", "skipped"]
    assert f"127.0.0.1:{taken_port}: the port is taken" in (result.error or "")
    (record,) = read_executions(project.paths.execution_logs)
    assert not record.completed


def test_a_failing_endpoint_leaves_no_room_for_simulated_ones(online: Project, endpoint: Endpoint) -> None:
    """`fallback` is about who can, not about who fails: made-up words never stand in for a broken model."""
    assert online.routing == RoutingConfig(simulated="fallback", exploration=0.02)
    endpoint.answer = refuses(500, "broken")
    with open_runtime(online) as runtime:
        result = runtime.execute(INSTRUCTION).result
    assert not result.completed
    assert not result.simulated
    assert len(endpoint.requests) == 3


def test_without_an_llm_to_ask_an_unsure_learned_plan_stands(configs: Path, tmp_path: Path) -> None:
    project = load(configs, tmp_path / "home")
    assert project.planner.confidence_threshold > 0
    with open_runtime(project, mock=True, log=False) as runtime:
        assert runtime.planner._threshold == 0.0


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_harms_nothing(
    online: Project, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """Deadlines, pauses and breakers go by the monotonic clock; the wall clock only dates what is kept."""
    wall = time.time
    jumped = threading.Event()

    def answer(request: Request) -> Response:
        monkeypatch.setattr(time, "time", lambda: wall() + (0.0 if jumped.is_set() else jump_s))
        jumped.set()  # and back again with the next request
        return says("Paris")(request)

    endpoint.answer = answer
    asked = INSTRUCTION.model_copy(update={"budget": Budget(seconds=30.0)})
    with open_runtime(online) as runtime:
        results = [runtime.execute(asked, execution_id=f"e-{number}").result for number in range(3)]
        assert runtime.store is not None
        runtime.store.flush().result(10)
        assert [line.status for line in runtime.store.search()] == ["finished"] * 3
    assert [result.answer for result in results] == ["Paris"] * 3
    assert all(0 <= result.total_latency_ms < 30_000 for result in results)
    assert sorted(logged(online)) == ["e-0", "e-1", "e-2"]
