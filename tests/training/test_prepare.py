from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.config import SplitConfig
from orchestai.contracts import (
    AcceptanceCheck,
    CheckResult,
    PlanExample,
    SubtaskRecord,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
)
from orchestai.errors import DataError
from orchestai.logs import ExecutionLogRecord, ExecutionSource
from orchestai.logs.columns import execution_row, execution_schema
from orchestai.logs.feedback import Label
from orchestai.logs.record import GraphRecord, PlannerRecord
from orchestai.training.prepare import (
    prepare_training_data,
    read_training_data,
    split_of,
    write_training_data,
)

TASKS = TaskCatalog(types=tuple(TaskType(name=n, description=n) for n in ("extract", "summarize", "translate")))
WORKERS = WorkerCatalog(
    workers=tuple(WorkerProfile(name=n, description=n, model=n) for n in ("small", "large", "polyglot"))
)
CHECK = AcceptanceCheck(kind="contains", value="owl")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FAN_IN = (("extract", "extract", "summarize"), ((), (), (0, 1)))


def record(
    execution_id: str,
    text: str = "Summarise both.",
    *,
    workers: tuple[str, ...] = ("large", "small", "polyglot"),
    plan: Any = FAN_IN,
    success: bool = True,
    checked: bool = True,
    cost: float = 0.045,
    latency_ms: float = 1200.0,
    planner: str = "corpus",
    fallback_reason: str | None = None,
    minute: int = 0,
    tokens: tuple[int, ...] = (3, 15, 1023),
    planned: tuple[str, ...] | None = None,
    simulated: bool = False,
    **source: Any,
) -> ExecutionLogRecord:
    names, dependencies = plan
    planned = planned or workers
    size = range(len(names))
    return ExecutionLogRecord(
        timestamp=NOON + timedelta(minutes=minute),
        instruction=text,
        success=success,
        cost=cost,
        latency_ms=latency_ms,
        planner_outputs=PlannerRecord(
            planner=planner,
            fallback_reason=fallback_reason,
            task_type_names=names,
            task_types=tuple(TASKS.names.index(n) if n in TASKS.names else -1 for n in names),
            workers=planned,
            model_selections=tuple(WORKERS.names.index(n) if n in WORKERS.names else -1 for n in planned),
            dependencies=dependencies,
        ),
        execution_result={},
        execution_id=execution_id,
        completed=success or checked,
        simulated=simulated,
        subtasks=tuple(
            SubtaskRecord(
                index=index,
                task_type=names[index],
                worker=workers[index],
                status="done",
                output_tokens=tokens[index] if index < len(tokens) else 1,
                latency_ms=100.0,
            )
            for index in size
        ),
        checks=(CheckResult(check=CHECK, held=success),) if checked else (),
        source=ExecutionSource(**source),
    )


def table_of(*records: ExecutionLogRecord) -> pa.Table:
    rows = [execution_row(item, "s.jsonl") for item in records]
    return pa.Table.from_pylist(rows, schema=execution_schema())


def prepare(*records: ExecutionLogRecord, split: SplitConfig | None = None):
    return prepare_training_data(table_of(*records), TASKS, WORKERS, split)


def test_a_row_reads_as_the_planner_will_read_it() -> None:
    """What was sent along is marked, as `planning_text` marks it when planning."""
    with_image = record("e-1", "What does it say?").model_copy(
        update={"inputs": {"text": "notes", "image": "sign.png"}}
    )
    assert prepare(with_image).examples[0].instruction == "What does it say?\n[image] [text]"
    assert prepare(record("e-2", "What does it say?")).examples[0].instruction == "What does it say?"


def test_documented_row(tmp_path):
    data = prepare(record("e-1", kind="corpus", example_id="x-1", template="x", split="validation"))
    paths = write_training_data(data, tmp_path)
    assert json.loads(paths.json.read_text()) == [
        {
            "instruction": "Summarise both.",
            "targets": {
                "model_selections": [1, 0, 2],
                "task_types": [0, 0, 1],
                "dependencies": [[], [], [0, 1]],
            },
            "rewards": {"success": 1.0, "cost": -0.045, "latency": -1.2},
        }
    ]
    (row,) = pq.read_table(paths.parquet).to_pylist()
    assert (row["id"], row["group"], row["split"]) == ("x-1", "x", "validation")
    assert (row["planner"], row["imitation"], row["simulated"], row["weight"]) == (
        "corpus",
        False,
        False,
        1.0,
    )
    assert row["execution_ids"] == ["e-1"]
    # log(1 + tokens) / log(1025), of 3, 15 and 1023 tokens: log 4, log 16 and log 1024.
    expected = tuple(math.log(value) / math.log(1025) for value in (4, 16, 1024))
    (example,) = data.examples
    assert example.complexities == pytest.approx(expected)
    assert example.model_copy(update={"complexities": None}) == (
        PlanExample(
            id="x-1",
            instruction="Summarise both.",
            task_types=("extract", "extract", "summarize"),
            dependencies=((), (), (0, 1)),
            model_selections=("large", "small", "polyglot"),
            group="x",
            split="validation",
        )
    )


def test_dependencies_are_the_transpose_of_the_adjacency():
    """A plain log has the adjacency only. Node 0 feeds 1 and 2; read the wrong way, 1 and 2 would feed 0."""
    plain = record("e-1")
    outputs = plain.planner_outputs.model_copy(
        update={
            "dependencies": None,
            "workflow_graph": GraphRecord(adjacency=((0, 1, 1), (0, 0, 0), (0, 0, 0))),
            "workers": (),
            "task_type_names": (),
        }
    )
    data = prepare(plain.model_copy(update={"planner_outputs": outputs, "subtasks": ()}))
    (example,) = data.examples
    assert example.dependencies == ((), (0,), (0,))
    assert example.task_types == ("extract", "extract", "summarize")
    assert example.model_selections == ("large", "small", "polyglot")
    assert example.complexities is None


def test_parents_come_before_children():
    """The logged graph is 2 -> 0 -> 1 with 3 apart: in order that is 2, 0, 1, 3."""
    plan = (("summarize", "translate", "extract", "extract"), ((2,), (0,), (), ()))
    data = prepare(record("e-1", plan=plan, workers=("large", "polyglot", "small", "large"), tokens=(3, 15, 63, 7)))
    (example,) = data.examples
    assert example.task_types == ("extract", "summarize", "translate", "extract")
    assert example.dependencies == ((), (0,), (1,), ())
    assert example.model_selections == ("small", "large", "polyglot", "large")
    assert example.complexities == pytest.approx([math.log(v) / math.log(1025) for v in (64, 4, 16, 8)])


def test_plan_in_order_keeps_its_order():
    plan = (("extract", "translate", "extract"), ((), (0,), ()))
    (example,) = prepare(record("e-1", plan=plan)).examples
    assert (example.task_types, example.dependencies) == plan


def test_cheapest_accepted_workers_are_learned():
    data = prepare(
        record("e-1", workers=("large",) * 3, cost=0.9),
        record("e-2", workers=("small",) * 3, cost=0.1, success=False),
        record("e-3", workers=("polyglot",) * 3, cost=0.3, latency_ms=2000),
        record("e-4", workers=("polyglot",) * 3, cost=0.5, latency_ms=4000),
        record("e-5", workers=("polyglot",) * 3, cost=0.1, latency_ms=3000, success=False),
    )
    (row,) = data.table.to_pylist()
    assert row["model_selections"] == ["polyglot"] * 3
    assert not row["imitation"]
    # Means over the three executions by these workers, the failed one included.
    assert row["reward_success"] == pytest.approx(2 / 3)
    assert row["reward_cost"] == pytest.approx(-0.3)
    assert row["reward_latency"] == pytest.approx(-3.0)
    assert (row["executions"], len(row["execution_ids"])) == (5, 5)


def test_without_a_check_the_row_only_imitates():
    data = prepare(
        record("e-1", checked=False, workers=("small",) * 3, cost=0.1),
        record("e-2", checked=False, workers=("large",) * 3, cost=0.9, minute=1),
    )
    (example,) = data.examples
    assert example.imitation
    assert example.model_selections == ("large",) * 3  # what was done last
    assert data.summary.imitation_rows == 1


def test_worker_who_answered_counts_not_the_planned_one():
    (example,) = prepare(record("e-1", planned=("small",) * 3, workers=("small", "large", "small"))).examples
    assert example.model_selections == ("small", "large", "small")


def test_successful_plan_is_preferred():
    other = (("extract", "summarize"), ((), (0,)))
    two = ("small", "small")
    data = prepare(
        record("e-1", planner="rules", success=False),
        record("e-2", planner="rules", success=False),
        record("e-3", planner="llm", plan=other, workers=two),
        record("e-4", planner="llm", plan=other, workers=two, success=False),
    )
    (row,) = data.table.to_pylist()
    assert row["task_types"] == list(other[0])
    assert (row["planner"], row["weight"]) == ("llm", 0.5)
    assert row["execution_ids"] == ["e-3", "e-4"]


def test_persons_plan_wins_among_successful_ones():
    other = (("extract", "summarize"), ((), (0,)))
    two = ("small", "small")
    data = prepare(
        record("e-1"),
        record("e-2", planner="rules", plan=other, workers=two, cost=0.001),
        record("e-3", planner="rules", plan=other, workers=two, cost=0.001),
    )
    assert data.examples[0].task_types == FAN_IN[0]


@pytest.mark.parametrize("planner", ["rules", "llm"])
def test_an_accepted_plan_that_took_the_place_of_a_learned_one_is_an_example(planner):
    reason = "learned confidence 0.31 < 0.60"
    data = prepare(record("e-1", planner=planner, fallback_reason=reason))
    assert data.examples[0].task_types == FAN_IN[0]
    row = data.table.to_pylist()[0]
    assert (row["planner"], row["fallback_reason"]) == (planner, reason)
    assert (data.summary.fallback_rows, data.summary.fallback_instructions) == (1, 1)


def test_a_fallback_that_was_not_accepted_is_counted_but_not_learned():
    data = prepare(record("e-1", planner="llm", fallback_reason="unsure", success=False))
    assert data.examples == []
    assert (data.summary.fallback_rows, data.summary.fallback_instructions) == (0, 1)


def test_a_row_without_fallback_says_so():
    data = prepare(record("e-1", planner="learned"))
    assert data.table.to_pylist()[0]["fallback_reason"] is None
    assert (data.summary.fallback_rows, data.summary.fallback_instructions) == (0, 0)


def test_a_persons_plan_stands_before_a_fallback():
    other = (("summarize",), ((),))
    fallback = record("e-2", planner="llm", fallback_reason="unsure", plan=other, workers=("small",), tokens=(1,))
    data = prepare(record("e-1"), fallback)
    assert data.examples[0].task_types == FAN_IN[0]
    assert (data.summary.fallback_rows, data.summary.fallback_instructions) == (0, 1)


@pytest.mark.parametrize("planner", ["rules", "llm", "learned"])
def test_failed_plans_that_no_person_made_are_not_learned(planner):
    data = prepare(record("e-1", planner=planner, success=False))
    assert data.examples == []
    assert data.summary.failed_instructions == 1


def test_failed_plan_of_a_person_is_learned_with_its_failure():
    (row,) = prepare(record("e-1", success=False)).table.to_pylist()
    assert (row["reward_success"], row["imitation"], row["weight"]) == (0.0, True, 1.0)


def test_split_is_that_of_the_log_or_the_hash_of_the_group():
    def place(group: str) -> int:
        return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 100

    config = SplitConfig(train=50, validation=30, test=20)
    for number in range(50):
        group = f"group-{number}"
        wanted = "train" if place(group) < 50 else "validation" if place(group) < 80 else "test"
        assert split_of(group, config) == wanted
    data = prepare(
        record("e-1", text="one", template="family"),
        record("e-2", text="two", template="family"),
        record("e-3", text="three", template="other", split="test"),
        record("e-4", text="three"),
        split=config,
    )
    splits = {example.instruction: (example.group, example.split) for example in data.examples}
    assert splits == {
        "one": ("family", split_of("family", config)),
        "two": ("family", split_of("family", config)),
        "three": ("other", "test"),
    }


def test_group_in_several_splits_is_held_out():
    data = prepare(
        record("e-1", text="one", template="family", split="train"),
        record("e-2", text="two", template="family", split="test"),
    )
    assert [example.split for example in data.examples] == ["test", "test"]
    assert data.summary.split_conflicts == 1


def test_unusable_executions_are_counted():
    data = prepare(
        record("e-1", text="a", plan=(("dance",), ((),)), workers=("small",)),
        record("e-2", text="b", workers=("large", "small", "stranger")),
        record("e-3", text="c", plan=(("extract", "extract"), ((1,), (0,))), workers=("small", "small")),
        record("e-4", text="d", plan=((), ()), workers=()),
        record("e-5", text="e"),
    )
    assert data.summary.unusable == {
        "malformed_plan": 1,
        "no_plan": 1,
        "unknown_task_type": 1,
        "unknown_worker": 1,
    }
    assert (data.summary.executions, data.summary.rows) == (5, 1)


def test_names_outlive_a_catalog_that_grows():
    grown = WorkerCatalog(workers=(WorkerProfile(name="new", description="n", model="n"), *WORKERS.workers))
    data = prepare_training_data(table_of(record("e-1")), TASKS, grown)
    (row,) = data.table.to_pylist()
    assert row["model_selections"] == ["large", "small", "polyglot"]
    assert row["model_selection_ids"] == [2, 1, 3]


def test_latency_measures_effort_where_tokens_are_not_counted():
    (example,) = prepare(record("e-1", tokens=(0, 0, 0))).examples
    assert example.complexities == pytest.approx([math.log(101) / math.log(60001)] * 3)


def test_same_executions_same_bytes(tmp_path):
    records = [
        record("e-1", text="one", cost=0.1),
        record("e-2", text="one", cost=0.2, workers=("small",) * 3),
        record("e-3", text="two", simulated=True),
    ]
    first = write_training_data(prepare(*records), tmp_path / "a")
    tables = [table_of(records[2], records[0]), table_of(records[1], records[2])]
    twice = prepare_training_data(tables, TASKS, WORKERS)
    second = write_training_data(twice, tmp_path / "b")
    assert first.json.read_bytes() == second.json.read_bytes()
    assert (twice.summary.duplicates, twice.summary.simulated_rows) == (1, 1)
    assert read_training_data(tmp_path / "a").table.equals(twice.table)


def test_read_back(tmp_path):
    data = prepare(record("e-1"), record("e-2", text="¿Qué?"))
    write_training_data(data, tmp_path)
    again = read_training_data(tmp_path)
    assert again.examples == data.examples
    assert again.summary == data.summary
    assert again.documented_rows() == data.documented_rows()
    paths = write_training_data(again, tmp_path / "again")
    assert paths.parquet.read_bytes() == (tmp_path / "training_data.parquet").read_bytes()


def test_twin_that_was_changed_is_noticed(tmp_path):
    paths = write_training_data(prepare(record("e-1")), tmp_path)
    paths.json.write_text(paths.json.read_text().replace("0.045", "0.046"))
    with pytest.raises(DataError, match="twin"):
        read_training_data(tmp_path)


def test_missing_training_data(tmp_path):
    with pytest.raises(DataError, match="no training data"):
        read_training_data(tmp_path)


def test_foreign_table(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DataError, match=r"x\.parquet is not a table of executions"):
        prepare_training_data(path, TASKS, WORKERS)


def test_no_executions(tmp_path):
    data = prepare()
    assert (data.examples, data.summary.rows) == ([], 0)
    paths = write_training_data(data, tmp_path)
    assert json.loads(paths.json.read_text()) == []
    assert read_training_data(tmp_path).examples == []


def test_two_wordings_of_one_example_keep_apart():
    data = prepare(record("e-1", text="one", example_id="x-1"), record("e-2", text="two", example_id="x-1"))
    assert [example.id for example in data.examples] == ["x-1", "x-1~2"]


def test_a_label_overrides_what_the_checks_said() -> None:
    cheap = record("cheap", workers=("small", "small", "small"), cost=0.001)
    dear = record("dear", cost=0.05)
    liked = Label(True, None, "human", NOON)
    disliked = Label(False, 0.2, "judge", NOON)

    plain = prepare_training_data(table_of(cheap, dear), TASKS, WORKERS)
    judged = prepare_training_data(table_of(cheap, dear), TASKS, WORKERS, labels={"cheap": disliked, "other": liked})

    assert plain.table["model_selections"][0].as_py() == ["small", "small", "small"]
    assert judged.table["model_selections"][0].as_py() == ["large", "small", "polyglot"]
    assert (plain.summary.labelled, judged.summary.labelled) == (0, 1)


def test_a_label_makes_an_unchecked_execution_worth_more_than_imitation() -> None:
    unchecked = table_of(record("e-1", checked=False, planner="learned"))

    plain = prepare_training_data(unchecked, TASKS, WORKERS)
    liked = prepare_training_data(unchecked, TASKS, WORKERS, labels={"e-1": Label(True, None, "human", NOON)})
    disliked = prepare_training_data(unchecked, TASKS, WORKERS, labels={"e-1": Label(False, None, "human", NOON)})

    assert plain.examples[0].imitation
    assert not liked.examples[0].imitation
    assert disliked.examples == []
