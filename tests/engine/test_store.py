"""The state of executions on disk: promises kept once, over processes and crashes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestai.contracts import ExecutionResult, Instruction, SubtaskRecord, WorkerOutput
from orchestai.engine.store import ExecutionStore
from orchestai.errors import IdempotencyError, InputError, StorageError
from tests.engine.scripted import make_plan

PLAN = make_plan(((), (0,)))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[ExecutionStore]:
    opened = ExecutionStore(tmp_path, clock=clock)
    yield opened
    opened.close()


def ask(text: str = "Do it", **fields: object) -> Instruction:
    return Instruction.model_validate({"text": text, **fields})


def result(execution_id: str, cost: float = 0.5) -> ExecutionResult:
    return ExecutionResult(
        success=True, outputs={-1: "x"}, total_cost=cost, total_latency_ms=3, execution_id=execution_id, completed=True
    )


def done(node: int) -> tuple[SubtaskRecord, WorkerOutput]:
    return SubtaskRecord(index=node, task_type="generation", worker="w", status="done"), WorkerOutput(content=f"{node}")


def test_what_was_accepted_is_found_with_everything_that_happened_to_it(store: ExecutionStore) -> None:
    instruction = ask(inputs={"text": "material"}, budget={"usd": 1})
    assert store.accept("e", instruction, {"kind": "live"}).result().fresh
    store.start("e", PLAN).result()
    store.done("e", *done(0)).result()
    found = store.find("e")
    assert found is not None
    assert (found.status, found.plan, found.instruction) == ("running", PLAN, instruction)
    assert store.progress("e").done == {0: done(0)}
    store.finish("e", result("e")).result()
    found = store.find("e")
    assert found is not None
    assert (found.status, found.result) == ("finished", result("e"))
    assert store.progress("e").done == {}, "the result holds the outputs now"
    assert store.find("nobody") is None


def test_one_key_is_one_execution_for_each_tenant(store: ExecutionStore) -> None:
    first = store.accept("a", ask(idempotency_key="k"), {}).result()
    again = store.accept("b", ask(idempotency_key="k"), {}).result()
    other = store.accept("c", ask(idempotency_key="k", tenant="t"), {}).result()
    assert (first.id, first.fresh, again.id, again.fresh, other.id, other.fresh) == ("a", True, "a", False, "c", True)
    with pytest.raises(IdempotencyError, match="'k' was used for another request"):
        store.accept("d", ask("Something else", idempotency_key="k"), {}).result()
    assert store.accept("e", ask(), {}).result().fresh, "without a key every request is its own"


def test_a_refused_write_leaves_its_neighbours_alone(store: ExecutionStore) -> None:
    store.accept("a", ask(idempotency_key="k"), {}).result()
    futures = [
        store.accept("x", ask("first"), {}),
        store.accept("y", ask("clash", idempotency_key="k"), {}),
        store.accept("z", ask("last"), {}),
    ]
    assert futures[0].result().fresh
    with pytest.raises(IdempotencyError):
        futures[1].result()
    assert futures[2].result().fresh
    assert store.find("y") is None


def test_only_what_has_no_living_owner_can_be_claimed(tmp_path: Path, store: ExecutionStore) -> None:
    store.accept("mine", ask(), {}).result()
    with_other = ExecutionStore(tmp_path)
    assert with_other.claim().result() == []
    with_other.accept("theirs", ask(), {}).result()
    assert store.claim().result() == []
    with_other.close()
    assert store.claim().result() == ["theirs"]
    assert store.claim().result() == [], "claimed once is ours"
    found = store.find("theirs")
    assert found is not None
    assert found.attempt == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from orchestai.contracts import Instruction, SubtaskRecord, WorkerOutput
from orchestai.engine.store import ExecutionStore
store = ExecutionStore(Path(sys.argv[1]))
store.accept("left", Instruction(text="Do it"), {"kind": "live"}).result()
record = SubtaskRecord(index=0, task_type="generation", worker="w", status="done")
store.done("left", record, WorkerOutput(content="0")).result()
store.begin("left", 1).result()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.integration
def test_what_a_killed_process_left_is_there_and_free(tmp_path: Path, store: ExecutionStore) -> None:
    path = ":".join(entry for entry in sys.path if entry)
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env={"PYTHONPATH": path}, check=False)
    assert process.returncode == -9
    assert store.claim().result() == ["left"]
    progress = store.progress("left")
    assert set(progress.done) == {0}
    assert progress.begun == {1}


def test_approval_frees_rejection_ends_and_both_happen_once(store: ExecutionStore, clock: Clock) -> None:
    for name in ("yes", "no", "late"):
        store.accept(name, ask(), {}).result()
        store.wait(name, PLAN, reason="effects", expires=clock.now + 10).result()
    assert store.claim().result() == [], "what waits is not free"
    store.decide("yes", approve=True, by="eva").result()
    store.decide("no", approve=False).result()
    with pytest.raises(InputError, match="'no' is rejected; it does not wait"):
        store.decide("no", approve=True).result()
    with pytest.raises(InputError, match="'none' is unknown"):
        store.decide("none", approve=True).result()
    clock.now += 11
    with pytest.raises(InputError, match="'late' is expired"):
        store.decide("late", approve=True).result()
    assert store.expire().result() == 1
    assert store.claim().result() == ["yes"]
    found = store.find("yes")
    assert found is not None
    assert (found.approved, found.attempt, found.reason) == (True, 1, "approved by eva")
    assert {line.id: line.status for line in store.search()} == {
        "yes": "accepted",
        "no": "rejected",
        "late": "expired",
    }


def test_search_filters_and_pages(store: ExecutionStore, clock: Clock) -> None:
    for number in range(5):
        clock.now = 1000.0 + number
        store.accept(f"e{number}", ask(f"Question {number} of ÄNNE", tenant="ab"[number % 2]), {}).result()
    store.finish("e4", result("e4", 0.25)).result()
    store.finish("e2", result("e2", 0.5)).result()
    store.finish("e1", result("e1", 2)).result()
    assert [line.id for line in store.search(limit=2)] == ["e4", "e3"]
    assert [line.id for line in store.search(limit=2, before=1003)] == ["e2", "e1"]
    assert [line.id for line in store.search(tenant="b")] == ["e3", "e1"]
    assert [line.id for line in store.search(status="finished", since=1002)] == ["e4", "e2"]
    assert [line.id for line in store.search(text="question 3")] == ["e3"]
    assert store.search(text="100%_'; DROP TABLE executions; --") == []
    assert store.cost_by_tenant() == {"a": 0.75, "b": 2}
    assert store.cost_by_tenant(tenant="a", since=1003) == {"a": 0.25}
    with pytest.raises(InputError, match="`status` must be one of"):
        store.search(status="done")  # type: ignore[arg-type]


def test_purging_forgets_what_ended_long_ago_only(store: ExecutionStore, clock: Clock) -> None:
    store.accept("old", ask(), {}).result()
    store.finish("old", result("old")).result()
    store.accept("open", ask(), {}).result()
    clock.now += 100
    store.accept("new", ask(), {}).result()
    store.finish("new", result("new")).result()
    assert store.purge(clock.now - 50).result() == 1
    assert {line.id for line in store.search()} == {"open", "new"}


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = ExecutionStore(tmp_path)
    store._database.submit(lambda connection: connection.execute("PRAGMA max_page_count = 30") and None).result()
    outcomes = [store.accept(f"e{number}", ask("x" * 3000), {}) for number in range(60)]
    failed = [future for future in outcomes if future.exception() is not None]
    assert failed
    assert all(isinstance(future.exception(), StorageError) for future in failed)
    kept = {future.result().id for future in outcomes if future.exception() is None}
    assert {line.id for line in store.search(limit=100)} == kept
    store.close()
    with pytest.raises(StorageError, match="closed"):
        store.accept("after", ask(), {})


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be kept"):
        ExecutionStore(tmp_path / "file" / "state")
