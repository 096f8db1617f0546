"""Collection: each item once, a few at a time, and a failure of one is not a failure of all."""

from __future__ import annotations

import asyncio

import pytest

from orchestai.contracts import ExecutionResult, Instruction
from orchestai.errors import InputError, NoWorkerError, StorageError
from orchestai.logs import ExecutionSource
from orchestai.training.collect import CollectionItem, collect


def item(name: str) -> CollectionItem:
    return CollectionItem(Instruction(text=name), None, ExecutionSource(kind="test"), name)


def outcome(name: str, *, success: bool = True, completed: bool = True) -> ExecutionResult:
    return ExecutionResult(
        success=success,
        outputs={},
        total_cost=0.0,
        total_latency_ms=1.0,
        execution_id=name,
        completed=completed,
    )


ITEMS = [item(name) for name in "abcdef"]


async def test_everything_is_run_once_and_counted() -> None:
    ran: list[str] = []
    results = {"b": outcome("b", success=False), "c": outcome("c", success=False, completed=False)}

    async def execute(one: CollectionItem) -> ExecutionResult:
        await asyncio.sleep(0)
        ran.append(one.execution_id)
        return results.get(one.execution_id, outcome(one.execution_id))

    report = await collect(ITEMS, execute, concurrency=3)
    assert sorted(ran) == list("abcdef")
    assert vars(report) == {
        "executed": 6,
        "succeeded": 4,
        "completed": 5,
        "simulated": 0,
        "skipped": 0,
        "unplanned": 0,
    }


async def test_what_is_logged_already_is_skipped_and_told() -> None:
    ran: list[str] = []
    told: dict[str, bool] = {}

    async def execute(one: CollectionItem) -> ExecutionResult:
        ran.append(one.execution_id)
        return outcome(one.execution_id)

    def on_done(one: CollectionItem, result: ExecutionResult | None) -> None:
        told[one.execution_id] = result is not None

    report = await collect(ITEMS, execute, done=frozenset("acdf"), on_done=on_done)
    assert sorted(ran) == ["b", "e"]
    assert (report.executed, report.skipped) == (2, 4)
    assert told == {"a": False, "b": True, "c": False, "d": False, "e": True, "f": False}


async def test_no_more_than_the_allowed_number_run_at_a_time() -> None:
    running = peak = 0

    async def execute(one: CollectionItem) -> ExecutionResult:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.005)
        running -= 1
        return outcome(one.execution_id)

    await collect(ITEMS, execute, concurrency=2)
    assert peak == 2


async def test_an_item_that_cannot_be_planned_does_not_stop_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def execute(one: CollectionItem) -> ExecutionResult:
        if one.execution_id == "b":
            raise NoWorkerError("image_analysis", "vision")
        return outcome(one.execution_id)

    report = await collect(ITEMS, execute, concurrency=1)
    assert (report.executed, report.unplanned) == (5, 1)
    assert "b cannot be planned: No worker offers 'vision'" in caplog.text


async def test_a_log_that_cannot_be_written_stops_all_and_leaves_nothing_running() -> None:
    ended: list[str] = []

    async def execute(one: CollectionItem) -> ExecutionResult:
        if one.execution_id == "b":
            raise StorageError("No space left on device.", path="/logs")
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(one.execution_id)
        return outcome(one.execution_id)

    async with asyncio.timeout(5):
        with pytest.raises(StorageError, match="No space left"):
            await collect(ITEMS, execute, concurrency=3)
    assert sorted(ended) == ["a", "c"], "d, e and f were never started, a and c were cancelled and awaited"


async def test_nothing_to_do_is_no_error() -> None:
    async def execute(_one: CollectionItem) -> ExecutionResult:
        raise AssertionError("nothing may run")

    assert (await collect([], execute)).executed == 0


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_a_concurrency_that_would_run_nothing_is_refused(concurrency: int) -> None:
    async def execute(one: CollectionItem) -> ExecutionResult:
        return outcome(one.execution_id)

    with pytest.raises(InputError, match=f"must be >= 1, got {concurrency}"):
        await collect(ITEMS, execute, concurrency=concurrency)
