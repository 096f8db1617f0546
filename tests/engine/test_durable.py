"""Another worker where one fails, what is done stays done, effects happen at most once, a stop keeps what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestai.arms.registry import ArmRegistry
from orchestai.contracts import (
    Assignment,
    Budget,
    Instruction,
    Plan,
    SubtaskRecord,
    WorkerCatalog,
    WorkerOutput,
    WorkerRequest,
)
from orchestai.engine import Engine
from orchestai.engine.execution import Stop
from orchestai.engine.journal import StoreJournal
from orchestai.engine.store import ExecutionStore
from orchestai.errors import (
    BreakerOpenError,
    StorageError,
    WorkerAuthError,
    WorkerRequestError,
    WorkerUnavailableError,
)
from tests.engine.scripted import Behaviour, ScriptedWorker, answer, make_plan

MakeEngine = Callable[..., Engine]
INSTRUCTION = Instruction(text="Do it")


def fails(error: Exception) -> Behaviour:
    async def run(_request: WorkerRequest) -> WorkerOutput:
        raise error

    return run


def with_alternatives(*names: str) -> Plan:
    plan = make_plan(((),))
    assignment = Assignment(worker=names[0], alternatives=names[1:], propensity=1.0)
    return plan.model_copy(update={"assignments": (assignment,)})


@pytest.mark.parametrize(
    "error", [WorkerUnavailableError("down", worker="a"), WorkerAuthError("no key", worker="a"), ValueError("bug")]
)
async def test_the_next_best_worker_steps_in(make_engine: MakeEngine, error: Exception) -> None:
    workers = {"a": ScriptedWorker("a", fails(error)), "b": ScriptedWorker("b", answer("from b"))}
    result = await make_engine(workers, max_attempts=2).execute(INSTRUCTION, with_alternatives("a", "b"))
    (record,) = result.subtasks
    assert result.answer == "from b"
    assert (record.worker, record.gave_up, record.status) == ("b", ("a",), "done")
    assert record.propensity is None, "nobody chose the worker that stood in"


async def test_the_one_that_does_best_steps_in(make_engine: MakeEngine) -> None:
    """Whatever the plan's order: what was seen of the workers since then counts."""
    workers = {
        "a": ScriptedWorker("a", fails(WorkerAuthError("no", worker="a"))),
        "b": ScriptedWorker("b", fails(WorkerAuthError("no", worker="b"))),
        "c": ScriptedWorker("c", answer("from c")),
    }
    standings = ArmRegistry.of_catalog(WorkerCatalog(workers=tuple(each.profile for each in workers.values())))
    engine = make_engine(workers, standings=standings)
    first = await engine.execute(INSTRUCTION, with_alternatives("a", "b", "c"))
    assert first.subtasks[0].gave_up == ("a", "b"), "nothing is known yet: names decide"
    second = await engine.execute(INSTRUCTION, with_alternatives("a", "b", "c"))
    assert second.subtasks[0].gave_up == ("a",), "b failed before, c did not"
    assert [standings.status(name).calls for name in "abc"] == [2, 1, 2]
    assert all(standings.status(name).in_flight == 0 for name in "abc")


async def test_a_refused_request_is_refused_by_all(make_engine: MakeEngine) -> None:
    workers = {
        "a": ScriptedWorker("a", fails(WorkerRequestError("400", worker="a"))),
        "b": ScriptedWorker("b", answer("x")),
    }
    result = await make_engine(workers).execute(INSTRUCTION, with_alternatives("a", "b"))
    assert not result.completed
    assert workers["b"].requests == []


async def test_workers_tried_are_limited(make_engine: MakeEngine) -> None:
    down = {name: ScriptedWorker(name, fails(WorkerAuthError("no", worker=name))) for name in "abcd"}
    result = await make_engine(down, max_workers=2).execute(INSTRUCTION, with_alternatives(*"abcd"))
    assert [len(down[name].requests) for name in "abcd"] == [1, 1, 0, 0]
    assert result.subtasks[0].gave_up == ("a",)


async def test_a_cheaper_worker_steps_in_when_the_budget_is_short(make_engine: MakeEngine) -> None:
    workers = {
        "dear": ScriptedWorker("dear", answer("dear"), output_usd_per_mtok=1e6),
        "cheap": ScriptedWorker("cheap", answer("cheap"), output_usd_per_mtok=0.0),
    }
    asked = Instruction(text="Do it", budget=Budget(usd=0.01))
    result = await make_engine(workers).execute(asked, with_alternatives("dear", "cheap"))
    assert result.answer == "cheap"
    assert workers["dear"].requests == []


async def test_while_the_breaker_is_open_the_last_good_answer_stands_in(make_engine: MakeEngine) -> None:
    worker = ScriptedWorker("a", answer("good"))
    engine = make_engine({"a": worker})
    assert (await engine.execute(INSTRUCTION, with_alternatives("a"))).answer == "good"
    worker.behaviour = fails(BreakerOpenError(worker="a", retry_after_s=30))
    result = await engine.execute(INSTRUCTION, with_alternatives("a"))
    assert result.answer == "good"
    assert len(worker.requests) == 2, "an open breaker is not tried again"
    other = Instruction(text="Do it", tenant="other")
    assert not (await engine.execute(other, with_alternatives("a"))).completed, "answers never cross tenants"
    assert engine.may_stand_in(INSTRUCTION.tenant)
    assert not engine.may_stand_in("other"), "so planning refuses it where all are away"


async def test_a_configured_answer_stands_in_where_none_is_known(make_engine: MakeEngine) -> None:
    workers = {"a": ScriptedWorker("a", fails(BreakerOpenError(worker="a", retry_after_s=30)))}
    result = await make_engine(workers, default_answer="Come back later.").execute(INSTRUCTION, with_alternatives("a"))
    assert result.answer == "Come back later."
    workers["a"].behaviour = fails(WorkerAuthError("no", worker="a"))
    result = await make_engine(workers, default_answer="Come back later.").execute(INSTRUCTION, with_alternatives("a"))
    assert not result.completed, "only for workers that are down"


async def test_an_effect_is_never_tried_twice(make_engine: MakeEngine) -> None:
    effect = ScriptedWorker("a", fails(WorkerUnavailableError("reset", worker="a")), external_effects=True)
    workers = {"a": effect, "b": ScriptedWorker("b", answer("x"))}
    result = await make_engine(workers).execute(INSTRUCTION, with_alternatives("a", "b"))
    assert len(effect.requests) == 1
    assert workers["b"].requests == []
    assert not result.completed


async def test_an_effect_that_cannot_be_noted_does_not_start(make_engine: MakeEngine, tmp_path: Path) -> None:
    store = ExecutionStore(tmp_path)
    store.close()
    effect = ScriptedWorker("a", answer("sent"), external_effects=True)
    result = await make_engine({"a": effect}).execute(
        INSTRUCTION, with_alternatives("a"), journal=StoreJournal(store, "e")
    )
    assert effect.requests == []
    assert "storage" in (result.error or "")


async def test_what_is_done_is_not_run_again_and_its_output_is_used(make_engine: MakeEngine, tmp_path: Path) -> None:
    store = ExecutionStore(tmp_path)
    store.accept("e", INSTRUCTION, {}).result()
    plan = make_plan(((), (), (0, 1)))
    workers = {f"w{node}": ScriptedWorker(f"w{node}", answer(f"out {node}", cost=0.25)) for node in range(3)}
    workers["w2"].behaviour = fails(WorkerAuthError("not yet", worker="w2"))
    engine = make_engine(workers)
    await engine.execute(INSTRUCTION, plan, execution_id="e", journal=StoreJournal(store, "e"))
    store.start("e", plan).result()
    workers["w2"].behaviour = answer("last", cost=0.25)
    journal = StoreJournal(store, "e", store.progress("e"))
    result = await engine.execute(INSTRUCTION, plan, execution_id="e", journal=journal)
    assert result.success
    assert [len(workers[f"w{node}"].requests) for node in range(3)] == [1, 1, 2]
    assert "out 0" in workers["w2"].requests[-1].prompt
    assert result.total_cost == 0.75, "what earlier attempts spent counts"
    store.close()


async def test_everything_done_before_the_crash_needs_no_call(make_engine: MakeEngine, tmp_path: Path) -> None:
    store = ExecutionStore(tmp_path)
    store.accept("e", INSTRUCTION, {}).result()
    record = SubtaskRecord(index=0, task_type="generation", worker="w0", status="done")
    store.done("e", record, WorkerOutput(content="kept")).result()
    worker = ScriptedWorker("w0", answer("new"))
    journal = StoreJournal(store, "e", store.progress("e"))
    result = await make_engine({"w0": worker}).execute(INSTRUCTION, make_plan(((),)), journal=journal)
    assert result.answer == "kept"
    assert worker.requests == []
    store.close()


async def test_an_effect_that_was_cut_off_is_not_repeated(make_engine: MakeEngine, tmp_path: Path) -> None:
    store = ExecutionStore(tmp_path)
    store.accept("e", INSTRUCTION, {}).result()
    store.begin("e", 0).result()
    worker = ScriptedWorker("w0", answer("sent"), external_effects=True)
    journal = StoreJournal(store, "e", store.progress("e"))
    result = await make_engine({"w0": worker, "w1": worker}).execute(
        INSTRUCTION, make_plan(((), (0,))), journal=journal
    )
    assert worker.requests == []
    assert [record.status for record in result.subtasks] == ["failed", "skipped"]
    assert "unknown_outcome" in (result.error or "")
    store.close()


async def test_a_stop_cancels_what_runs_and_keeps_what_is_done(make_engine: MakeEngine) -> None:
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def hang(_request: WorkerRequest) -> WorkerOutput:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    workers = {"w0": ScriptedWorker("w0", answer("kept")), "w1": ScriptedWorker("w1", hang)}
    stop = Stop()
    running = asyncio.create_task(make_engine(workers).execute(INSTRUCTION, make_plan(((), ())), stop=stop))
    await started.wait()
    stop.request("enough")
    result = await running
    assert cancelled.is_set()
    assert result.outputs[0] == "kept"
    assert "cancelled: The execution was stopped: enough" in (result.error or "")


async def test_a_stop_before_the_start_runs_nothing(make_engine: MakeEngine) -> None:
    stop = Stop()
    stop.request()
    worker = ScriptedWorker("w0", answer("x", after_s=60))
    async with asyncio.timeout(5):
        result = await make_engine({"w0": worker}).execute(INSTRUCTION, make_plan(((),)), stop=stop)
    assert not result.completed


async def test_a_worker_that_ignores_cancellation_does_not_hold_the_rest(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestai.engine.execution._GRACE_S", 0.05)
    let_go = asyncio.Event()

    async def stubborn(_request: WorkerRequest) -> WorkerOutput:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return WorkerOutput(content="too late")

    asked = Instruction(text="Do it", budget=Budget(seconds=0.05))
    async with asyncio.timeout(5):
        result = await make_engine({"w0": ScriptedWorker("w0", stubborn)}).execute(asked, make_plan(((),)))
    assert "deadline_exceeded" in (result.error or "")
    let_go.set()
    await asyncio.sleep(0)


async def test_a_host_that_fails_to_take_an_event_does_no_harm(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_event: Any) -> None:
        raise RuntimeError("no screen")

    workers = {"w0": ScriptedWorker("w0", answer("x"))}
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((),)), on_event=broken)
    assert result.success
    assert "failed to take an event" in caplog.text


async def test_journal_trouble_after_a_call_is_logged_and_the_answer_is_given(
    make_engine: MakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ExecutionStore(tmp_path)
    limit = "PRAGMA max_page_count = 1"
    store._database.submit(lambda connection: connection.execute(limit) and None).result()
    workers = {"w0": ScriptedWorker("w0", answer("x" * 50_000))}
    result = await make_engine(workers).execute(INSTRUCTION, make_plan(((),)), journal=StoreJournal(store, "e"))
    assert result.success
    with pytest.raises(StorageError):
        store.accept("more", Instruction(text="y" * 20_000), {}).result()
    assert "was not noted" in caplog.text
    store.close()
