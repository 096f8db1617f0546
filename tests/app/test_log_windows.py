"""New executions are judged against the last approved ones, block by block of time; only approved ones are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestai.app.log_windows import judge_windows, validate_executions, window_gates
from orchestai.config import LogGateConfig, Project, load_project
from orchestai.errors import DataError
from orchestai.logs.columns import execution_schema
from orchestai.validation.executions import execution_plan_table

START = datetime(2026, 3, 1, tzinfo=UTC)
SHAPES = (
    (("summarization",), ((),)),
    (("text_extraction", "reasoning"), ((), (0,))),
    (("summarization", "translation", "classification"), ((), (0,), (0,))),
    (("classification", "translation"), ((), ())),
    (("question_answering", "summarization", "translation", "reasoning"), ((), (0,), (1,), (0, 2))),
)


def log(first: int, rows: int, *, shapes: Sequence[Any] = SHAPES, source: str = "live", seed: int = 0) -> pa.Table:
    """Draw executions number `first` to `first + rows`, a minute apart."""
    rng = np.random.default_rng([seed, first])
    words = np.array(["report", "letter", "invoice", "poem", "table", "mail", "note", "speech", "essay", "list"])
    records = []
    for number in range(first, first + rows):
        names, parents = shapes[rng.integers(len(shapes))]
        records.append(
            {
                "execution_id": f"e{source}{number}",
                "attempt": 1,
                "sequence": number,
                "timestamp": START + timedelta(minutes=number),
                "instruction": f"Please do {' and '.join(rng.choice(words, 3 * len(names)))} of {number}.",
                "inputs": [],
                "success": bool(rng.random() < 0.9),
                "completed": True,
                "simulated": False,
                "cost": float(rng.gamma(2.0) * len(names) / 100),
                "latency_ms": float(rng.gamma(3.0) * 100 * len(names)),
                "planner": "learned",
                "confidence": float(rng.beta(5, 2)),
                "workers": [str(rng.choice(["small", "large", "other"])) for _ in names],
                "task_types": list(names),
                "dependencies": [list(found) for found in parents],
                "source": source,
                "schema_version": 1,
                "segment": "s",
                "content_sha256": f"{number}",
            }
        )
    return pa.Table.from_pylist(records, schema=execution_schema())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    found = load_project(target="ci")
    gate = tmp_path / "gate.yml"
    gate.write_text("sample_rows: 600\nnull_draws: 60\nbootstrap_draws: 10\ncascade_rows: 600\n")
    logs = LogGateConfig(gate=gate, min_rows=200, block_rows=300)
    return found.model_copy(update={"validation": found.validation.model_copy(update={"logs": logs})})


def test_plans_are_taken_apart() -> None:
    executions = log(0, 3, shapes=[SHAPES[4]]).append_column("extra", pa.array([1, 2, 3]))
    row = execution_plan_table(executions, ("summarization", "translation")).to_pylist()[0]
    assert row["subtasks"] == 4
    assert row["links"] == 4
    assert row["depth"] == 4
    assert row["width"] == 1
    assert row["shape"] == "-;0;1;0,2"
    assert row["first_type"] == "question_answering"
    assert row["n_summarization"] == 1
    assert row["n_other_types"] == 2
    changed_by_a_promotion = {"planner", "confidence", "workers", "cost", "latency_ms"}
    assert not row.keys() & {"extra", *changed_by_a_promotion}


def test_plans_that_cannot_be_read_are_rows_too() -> None:
    odd = log(0, 2).set_column(
        log(0, 2).schema.get_field_index("dependencies"), "dependencies", pa.array([None, [[5], None]])
    )
    rows = execution_plan_table(odd, ()).to_pylist()
    assert rows[0]["shape"] is None
    assert rows[1]["links"] == 1


def test_the_first_window_becomes_the_reference_and_a_healthy_second_one_follows(project: Project) -> None:
    few = log(0, 50)
    report, (waiting,) = validate_executions(project, few)
    assert report.approved
    assert waiting.report.state == "waiting"
    assert any("not judged yet" in str(gate.observed) for gate in report.warnings)

    first = log(0, 600)
    report, (window,) = validate_executions(project, first)
    assert (window.report.state, window.report.rows) == ("first", 600)
    assert report.approved
    assert window.page is not None
    assert window.page.exists()
    assert validate_executions(project, first)[1] == [], "what is approved is not judged again"

    both = pa.concat_tables([first, log(600, 650)])
    report, (window,) = validate_executions(project, both)
    assert (window.report.state, window.report.rows, len(window.report.blocks)) == ("compared", 650, 2)
    assert report.approved, list(report.refusals)
    assert window.report.reference is not None
    assert window.report.reference.number == 1


def test_instructions_that_name_running_numbers_are_no_shift(project: Project) -> None:
    def tickets(first: int, rows: int) -> pa.Table:
        texts = [
            f"Summarise ticket T-{number} of the harbour in one sentence." for number in range(first, first + rows)
        ]
        executions = log(first, rows)
        return executions.set_column(executions.schema.get_field_index("instruction"), "instruction", pa.array(texts))

    first = tickets(0, 350)
    validate_executions(project, first)
    report, (window,) = validate_executions(project, pa.concat_tables([first, tickets(350, 450)]))
    assert window.report.rows == 450, "executions that differ by the number alone all count"
    assert report.approved, list(report.refusals)
    assert window.report.worst is not None
    assert window.report.worst.result.collapse_score == pytest.approx(100, abs=3)


def test_collapsed_plans_at_the_end_of_a_window_are_refused_until_a_person_accepts_them(project: Project) -> None:
    first = log(0, 600)
    validate_executions(project, first)
    healthy, collapsed = log(600, 400), log(1000, 350, shapes=SHAPES[:1])
    everything = pa.concat_tables([first, healthy, collapsed])

    report, (window,) = validate_executions(project, everything)
    assert not report.approved
    (gate,) = report.refusals
    assert gate.name == "six stages, live"
    assert window.report.worst is not None
    assert window.report.worst is window.report.blocks[-1]
    assert "2026-03-01" in str(gate.observed)
    assert "accept_windows" in str(gate.remedy)
    again = judge_windows(project, everything)
    assert [w.report.rows for w in again] == [750], "a refused window is not remembered"

    report, _ = validate_executions(project, everything, accept=True)
    assert report.approved
    assert report.warnings
    assert judge_windows(project, everything) == []


@pytest.mark.slow
def test_late_rows_and_sources_make_windows_of_their_own(project: Project) -> None:
    validate_executions(project, log(500, 300))
    mixed = pa.concat_tables([log(500, 300), log(0, 250), log(800, 260, source="corpus")])
    found = {window.report.source: window.report for window in judge_windows(project, mixed)}
    assert found["live"].rows == 250
    assert found["live"].state == "compared"
    assert found["corpus"].state == "first"


@pytest.mark.slow
def test_the_order_of_the_rows_does_not_matter(project: Project) -> None:
    executions = log(0, 300)
    shuffled = executions.take(pa.array(np.random.default_rng(0).permutation(300)))
    (left,), (right,) = judge_windows(project, executions), judge_windows(project, shuffled)
    assert left.report.blocks[0].result.collapse_score == right.report.blocks[0].result.collapse_score
    assert left.table.equals(right.table)


def test_what_is_asked_again_counts_once(project: Project) -> None:
    executions = log(0, 300)
    place = executions.schema.get_field_index("execution_id")
    field = executions.schema.field(place)
    ids = pa.array([f"again{number}" for number in range(300)], field.type)
    again = executions.set_column(place, field, ids)
    (window,) = judge_windows(project, pa.concat_tables([executions, again]))
    assert window.report.rows == 300
    assert len(window.keys) == 600, "all of them have been seen"
    assert window.report.approved, window.report.worst


def test_a_damaged_memory_is_told(project: Project) -> None:
    validate_executions(project, log(0, 300))
    (path,) = (project.paths.state / "validation").glob("*/approved.parquet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="approved window"):
        judge_windows(project, log(0, 700))


def test_the_gate_can_be_switched_off(project: Project) -> None:
    logs = LogGateConfig(enabled=False)
    off = project.model_copy(update={"validation": project.validation.model_copy(update={"logs": logs})})
    assert judge_windows(off, log(0, 300)) == []


def test_waiting_says_how_many_are_needed(project: Project) -> None:
    (window,) = judge_windows(project, log(0, 60))
    (gate,) = window_gates(window.report)
    assert gate.severity == "warn"
    assert "200" in gate.allowed
