from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from orchestai.errors import DataError
from orchestai.logs import repair_orphans, table_path
from orchestai.logs.codec import seal_line
from orchestai.logs.columns import execution_schema
from tests.logs.home import DAY, NOON, Home


def test_rows_have_the_columns(home, line):
    source = {"kind": "corpus", "example_id": "x-1", "template": "x", "split": "test"}
    home.segment("h-1-1.jsonl", line("e-1", source=source, simulated=True))
    report = home.ingest()
    assert home.table.schema.remove_metadata() == execution_schema()
    (row,) = home.table.to_pylist()
    assert row["timestamp"] == NOON
    assert row["model_selections"] == [1, 0, 2]
    assert row["workers"] == ["large", "small", "polyglot"]
    assert row["task_types"] == ["extract", "extract", "summarize"]
    assert row["dependencies"] == [[], [], [0, 1]]
    assert row["adjacency"] == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert (row["cost"], row["latency_ms"], row["confidence"]) == (0.045, 1200.0, 0.25)
    assert (row["source"], row["example_id"], row["template"], row["split"]) == ("corpus", "x-1", "x", "test")
    assert [subtask["output_tokens"] for subtask in row["subtasks"]] == [10, 10, 10]
    assert json.loads(row["checks"][0]["check"]) == {"kind": "contains", "value": "owl"}
    assert row["answer"] == "owl"
    assert json.loads(row["execution_result"])["total_cost"] == 0.045
    assert json.loads(row["planner_outputs"])["plan_id"] == "p-1"
    assert (report.rows, report.new_rows, report.simulated_rows) == (1, 1, 1)


def test_ingesting_again_changes_nothing(home, line):
    home.segment("h-1-1.jsonl", line("e-1"), b"garbage", line("e-2", 1))
    first = home.ingest()
    assert (first.segments, first.new_segments, first.rows, first.new_rows) == (1, 1, 2, 2)
    before = (table_path(home.tables, DAY)).stat()
    content = table_path(home.tables, DAY).read_bytes()
    again = home.ingest()
    assert (again.segments, again.new_segments, again.rows, again.new_rows) == (1, 0, 2, 0)
    assert again.quarantined == first.quarantined == {"json": 1}
    after = table_path(home.tables, DAY).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert table_path(home.tables, DAY).read_bytes() == content


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_bit_by_bit_gives_the_same_bytes(home, line, tmp_path, order):
    other = Home(tmp_path / "at once")
    # The same key twice with different content: which one stays may not depend on who came first.
    contents = [
        [line("e-2", 5), line("e-1", 1)],
        [line("e-1", 3), line("e-3", 0)],
        [line("e-2", 5, success=False), b"{}", line("e-4", 2)],
    ]
    for number in order:
        home.segment(f"h-{number}-1.jsonl", *contents[number])
        report = home.ingest()
    for number, lines in enumerate(contents):
        other.segment(f"h-{number}-1.jsonl", *lines)
    at_once = other.ingest()
    assert table_path(home.tables, DAY).read_bytes() == table_path(other.tables, DAY).read_bytes()
    assert (report.rows, report.duplicates) == (at_once.rows, at_once.duplicates) == (4, 2)
    assert home.table["execution_id"].to_pylist() == ["e-3", "e-1", "e-4", "e-2"]


def test_attempts_and_sequences_are_different_rows(home, line):
    home.segment("h-1-1.jsonl", line("e-1"), line("e-1", attempt=2), line("e-1", sequence=1), line("e-1", attempt=2))
    report = home.ingest()
    assert (report.rows, report.duplicates) == (3, 1)


def test_open_segments_wait(home, line):
    home.segment("h-1-1.open", line("e-1"))
    assert home.ingest().rows == 0
    assert home.table.num_rows == 0
    repair_orphans(home.logs, home.quarantine)
    assert home.ingest().new_rows == 1


def test_bad_and_torn_lines_are_counted_and_kept(home, line):
    home.segment("h-1-1.jsonl", b"garbage", line("e-1"), line("e-2")[:-1] + b" }", b"\xff")
    home.segment("h-2-1.open", line("e-3"))
    with (home.logs / DAY.isoformat() / "h-2-1.open").open("ab") as stream:
        stream.write(b'{"half":')
    repair_orphans(home.logs, home.quarantine)
    report = home.ingest()
    assert report.rows == 2
    assert report.quarantined == {"crc": 1, "encoding": 1, "json": 1, "torn": 1}
    kept = (home.quarantine / "2026-11-21" / "h-1-1.bad.jsonl").read_text().splitlines()
    assert [(row["line"], row["reason"]) for row in map(json.loads, kept)] == [
        (1, "json"),
        (3, "crc"),
        (4, "encoding"),
    ]


def test_plain_daily_file_grows(home):
    def plain(*instructions: str) -> None:
        rows = [
            {
                "timestamp": "2026-11-21T08:00:00",
                "instruction": text,
                "success": True,
                "cost": 0,
                "latency_ms": 1,
            }
            for text in instructions
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows)
        (home.logs / "executions_20261121.jsonl").write_text(content)

    plain("one")
    assert home.ingest().new_rows == 1
    plain("one", "two", "one")
    report = home.ingest()
    assert (report.rows, report.new_rows, report.duplicates) == (2, 1, 1)
    assert sorted(home.table["instruction"].to_pylist()) == ["one", "two"]


def test_rows_of_deleted_segments_stay(home, line):
    gone = home.segment("h-1-1.jsonl", line("e-1"))
    home.ingest()
    gone.unlink()
    home.segment("h-1-2.jsonl", line("e-2", 1))
    report = home.ingest()
    assert (report.rows, report.new_rows, report.segments) == (2, 1, 2)


def test_damaged_table_is_refused(home, line):
    home.segment("h-1-1.jsonl", *(line(f"e-{number}") for number in range(50)))
    home.ingest()
    path = table_path(home.tables, DAY)
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    home.segment("h-1-2.jsonl", line("more"))
    with pytest.raises(DataError, match="Delete it"):
        home.ingest()


def test_nothing_is_left_beside_the_table(home, line):
    home.segment("h-1-1.jsonl", line("e-1"))
    home.ingest()
    assert sorted(path.name for path in home.tables.iterdir()) == [".locks", "2026-11-21.parquet"]


def test_a_segment_that_was_written_again_is_read_again(home, line):
    home.segment("h-1-1.jsonl", line("e-1"))
    home.ingest()
    home.segment("h-1-1.jsonl", line("e-1"), line("e-2"))

    report = home.ingest()

    assert (report.rows, report.new_rows, report.new_segments, report.duplicates) == (2, 1, 1, 0)


def test_a_table_of_an_older_release_gets_the_columns_that_came_since(home, line):
    home.segment("h-1-1.jsonl", line("e-1"))
    home.ingest()
    path = table_path(home.tables, DAY)
    pq.write_table(home.table.drop_columns(["fallback_reason", "writer"]), path)
    home.segment("h-2-1.jsonl", line("e-2"))

    assert home.ingest().rows == 2
    assert home.table["writer"].null_count == 1


def test_a_line_of_the_first_release_is_read(home):
    body = (
        b'{"timestamp":"2026-11-21T12:00:00Z","instruction":"Do it","success":true,"completed":true,"cost":0.5,'
        b'"latency_ms":7.0,"planner_outputs":{"planner":"rules"},"execution_result":{},"execution_id":"old",'
        b'"schema_version":1}'
    )
    home.segment("h-1-1.jsonl", seal_line(body))

    assert home.ingest().rows == 1
    assert home.table["execution_id"].to_pylist() == ["old"]


def test_a_day_without_rows_is_a_table_without_rows(home):
    assert (home.ingest().rows, home.table.num_rows) == (0, 0)
