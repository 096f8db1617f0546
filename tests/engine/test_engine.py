"""The DAG executor: order, parallelism, failure, deadline, budget, combined answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from orchestai.contracts import (
    COMBINED,
    AcceptanceCheck,
    Budget,
    ExecutionEvent,
    Instruction,
    WorkerOutput,
    WorkerRequest,
)
from orchestai.engine import Engine
from orchestai.errors import MalformedResponseError, WorkerAuthError, WorkerUnavailableError
from tests.engine.scripted import ScriptedWorker, answer, make_plan

MakeEngine = Callable[..., Engine]
INSTRUCTION = Instruction(text="Do it")


async def test_outputs_of_parents_are_inputs_of_their_children(make_engine: MakeEngine) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("ALPHA")),
        "w1": ScriptedWorker("w1", answer("BETA")),
        "w2": ScriptedWorker("w2", answer("GAMMA")),
    }
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((), (), (0,))))
    assert result.success
    assert result.completed
    assert result.outputs == {0: "ALPHA", 1: "BETA", 2: "GAMMA", COMBINED: "BETA\n\nGAMMA"}
    assert "ALPHA" in workers["w2"].requests[0].prompt
    assert "BETA" not in workers["w2"].requests[0].prompt


async def test_independent_branches_overlap_and_no_level_is_a_barrier(make_engine: MakeEngine) -> None:
    """Node 3 hangs below the fast branch: it must end before the slow node of the first level does."""
    ended: list[int] = []
    slow_may_end = asyncio.Event()

    async def slow(_request: WorkerRequest) -> WorkerOutput:
        await slow_may_end.wait()
        return WorkerOutput(content="slow")

    async def last(_request: WorkerRequest) -> WorkerOutput:
        slow_may_end.set()
        return WorkerOutput(content="last")

    workers = {
        "w0": ScriptedWorker("w0", slow),
        "w1": ScriptedWorker("w1", answer("fast")),
        "w2": ScriptedWorker("w2", answer("middle")),
        "w3": ScriptedWorker("w3", last),
    }

    def note(event: ExecutionEvent) -> None:
        if event.status == "done":
            ended.append(event.index)

    plan = make_plan(((), (), (1,), (2,)))
    async with asyncio.timeout(5):
        result = await make_engine(workers).execute(INSTRUCTION, plan, on_event=note)
    assert result.completed
    assert ended == [1, 2, 3, 0]


async def test_a_failing_subtask_skips_its_children_and_leaves_the_others(make_engine: MakeEngine) -> None:
    async def refuse(_request: WorkerRequest) -> WorkerOutput:
        raise WorkerAuthError("no key", worker="w0")

    workers = {
        "w0": ScriptedWorker("w0", refuse),
        "w1": ScriptedWorker("w1", answer("child")),
        "w2": ScriptedWorker("w2", answer("other")),
    }
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((), (0,), ())))
    assert [record.status for record in result.subtasks] == ["failed", "skipped", "done"]
    assert not result.success
    assert not result.completed
    assert result.answer == "other"
    assert result.error is not None
    assert "worker_auth: no key" in result.error
    assert workers["w1"].requests == []
    assert len(workers["w0"].requests) == 1, "a wrong key is not tried again"


async def test_a_bug_in_a_worker_fails_its_subtask_only(make_engine: MakeEngine) -> None:
    async def bug(_request: WorkerRequest) -> WorkerOutput:
        raise ZeroDivisionError("oops")

    workers = {"w0": ScriptedWorker("w0", bug), "w1": ScriptedWorker("w1", answer("fine"))}
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((), ())))
    assert [record.status for record in result.subtasks] == ["failed", "done"]
    assert "ZeroDivisionError: oops" in (result.error or "")


async def test_transient_failures_are_tried_again_and_paid_attempts_are_counted(
    make_engine: MakeEngine,
) -> None:
    failures = [WorkerUnavailableError("reset", worker="w0"), MalformedResponseError("half", worker="w0")]

    async def flaky(_request: WorkerRequest) -> WorkerOutput:
        if failures:
            raise failures.pop(0)
        return WorkerOutput(content="third time", cost=0.5)

    workers = {"w0": ScriptedWorker("w0", flaky)}
    events: list[str] = []
    result = await make_engine(workers).execute(
        INSTRUCTION, make_plan(((),)), on_event=lambda event: events.append(event.status)
    )
    assert result.success
    assert result.retry_count == 2
    assert result.total_cost == 0.5
    assert result.task_metrics[0]["attempts"] == 3
    assert events == ["running", "retrying", "retrying", "done"]


async def test_attempts_are_limited(make_engine: MakeEngine) -> None:
    async def down(_request: WorkerRequest) -> WorkerOutput:
        raise WorkerUnavailableError("refused", worker="w0")

    workers = {"w0": ScriptedWorker("w0", down)}
    result = await make_engine(workers, max_attempts=3).execute(INSTRUCTION, make_plan(((),)))
    assert len(workers["w0"].requests) == 3
    assert not result.completed


async def test_a_hanging_worker_times_out_and_the_rest_goes_on(make_engine: MakeEngine) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("never", after_s=60)),
        "w1": ScriptedWorker("w1", answer("fine")),
    }
    engine = make_engine(workers, default_timeout_s=0.05, max_attempts=1)
    result = await engine.execute(INSTRUCTION, make_plan(((), ())))
    assert [record.status for record in result.subtasks] == ["failed", "done"]
    assert "worker_timeout" in (result.error or "")


async def test_the_deadline_keeps_what_is_done(make_engine: MakeEngine) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("kept")),
        "w1": ScriptedWorker("w1", answer("never", after_s=60)),
    }
    instruction = Instruction(text="Do it", budget=Budget(seconds=0.2))
    async with asyncio.timeout(5):
        result = await make_engine(workers).execute(instruction, make_plan(((), ())))
    assert result.outputs[0] == "kept"
    assert not result.completed
    assert "deadline_exceeded" in (result.error or "")


async def test_a_call_that_could_break_the_budget_is_not_made(make_engine: MakeEngine) -> None:
    price = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1000.0}
    workers = {
        "w0": ScriptedWorker("w0", answer("paid", cost=0.20), **price),
        "w1": ScriptedWorker("w1", answer("too dear"), **price),
    }
    plan = make_plan(((), (0,)))
    # One call may cost this much; the first takes 0.20 of it, which leaves too little for the second.
    tasks_limit = make_engine(workers)._tasks["generation"].max_output_tokens
    instruction = Instruction(text="Do it", budget=Budget(usd=tasks_limit / 1000 + 0.05))
    result = await make_engine(workers).execute(instruction, plan)
    assert [record.status for record in result.subtasks] == ["done", "failed"]
    assert "budget_exceeded" in (result.error or "")
    assert workers["w1"].requests == []
    assert result.total_cost == pytest.approx(0.20)


async def test_parallel_calls_cannot_overdraw_the_budget_together(make_engine: MakeEngine) -> None:
    price = {"output_usd_per_mtok": 1000.0}
    workers = {
        f"w{index}": ScriptedWorker(f"w{index}", answer("x", cost=0.1, after_s=0.01), **price) for index in range(3)
    }
    engine = make_engine(workers)
    one_call = engine._tasks["generation"].max_output_tokens / 1000
    instruction = Instruction(text="Do it", budget=Budget(usd=2.5 * one_call))
    result = await engine.execute(instruction, make_plan(((), (), ())))
    assert sorted(record.status for record in result.subtasks) == ["done", "done", "failed"]


async def test_what_planning_cost_is_a_part_of_the_execution(make_engine: MakeEngine) -> None:
    price = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1000.0}
    workers = {"w0": ScriptedWorker("w0", answer("paid", cost=0.20), **price)}
    engine = make_engine(workers)
    limit = engine._tasks["generation"].max_output_tokens / 1000
    instruction = Instruction(text="Do it", budget=Budget(usd=limit + 0.05))
    cheap = make_plan(((),)).model_copy(update={"planning_cost_usd": 0.04})
    result = await engine.execute(instruction, cheap)
    assert result.total_cost == pytest.approx(0.24)
    dear = make_plan(((),)).model_copy(update={"planning_cost_usd": 0.06})
    result = await engine.execute(instruction, dear)
    assert len(workers["w0"].requests) == 1  # the second execution could not pay for its call
    assert "budget_exceeded" in (result.error or "")
    assert result.total_cost == pytest.approx(0.06)


async def test_success_means_that_the_checks_held(make_engine: MakeEngine) -> None:
    workers = {"w0": ScriptedWorker("w0", answer("Lisbon"))}
    for value, expected in (("lisbon", True), ("Madrid", False)):
        instruction = Instruction(
            text="Capital of Portugal?", acceptance=(AcceptanceCheck(kind="contains", value=value),)
        )
        result = await make_engine(workers).execute(instruction, make_plan(((),)))
        assert result.completed
        assert result.success is expected
        assert [check.held for check in result.checks] == [expected]


async def test_max_parallel_limits_one_execution(make_engine: MakeEngine) -> None:
    running = peak = 0

    async def count(_request: WorkerRequest) -> WorkerOutput:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.01)
        running -= 1
        return WorkerOutput(content="x")

    workers = {f"w{index}": ScriptedWorker(f"w{index}", count) for index in range(6)}
    result = await make_engine(workers, max_parallel=2).execute(INSTRUCTION, make_plan(((),) * 6))
    assert result.completed
    assert peak == 2


async def test_cancelling_the_execution_cancels_its_calls(make_engine: MakeEngine) -> None:
    cancelled = asyncio.Event()

    async def hang(_request: WorkerRequest) -> WorkerOutput:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return WorkerOutput(content="never")

    engine = make_engine({"w0": ScriptedWorker("w0", hang)})
    task = asyncio.create_task(engine.execute(INSTRUCTION, make_plan(((),))))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_single_step_then_assemble_gives_the_same_as_execute(make_engine: MakeEngine) -> None:
    workers = {"w0": ScriptedWorker("w0", answer("A", cost=0.1)), "w1": ScriptedWorker("w1", answer("B"))}
    engine, plan = make_engine(workers), make_plan(((), (0,)))
    first, first_output = await engine.run_subtask(INSTRUCTION, plan, 0, {})
    second, second_output = await engine.run_subtask(INSTRUCTION, plan, 1, {0: first_output.content})
    stepped = engine.assemble(
        INSTRUCTION,
        plan,
        {0: first, 1: second},
        {0: first_output, 1: second_output},
        execution_id="e",
        total_latency_ms=1.0,
    )
    whole = await engine.execute(INSTRUCTION, plan, execution_id="e")
    assert stepped.outputs == whole.outputs
    assert stepped.total_cost == whole.total_cost == pytest.approx(0.1)
    assert stepped.success
    assert whole.success
