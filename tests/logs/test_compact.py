"""A day's segments become its one documented file; nothing is lost or counted twice wherever it stops."""

import shutil
from datetime import date

import pyarrow.parquet as pq
import pytest

from orchestai.errors import StorageError
from orchestai.logs import (
    closed_segments,
    compact_day,
    days_to_compact,
    find_execution,
    ingest_day,
    plain_path,
    read_executions,
    table_path,
)
from orchestai.logs import compact as module
from tests.logs.home import DAY


def compact(home):
    return compact_day(home.logs, DAY, home.tables, home.quarantine)


def ids(home):
    return pq.read_table(table_path(home.tables, DAY))["execution_id"].to_pylist()


def test_segments_become_one_file_that_reads_the_same(home, line):
    home.segment("h-1-1.jsonl", line("e-2", 5), line("e-1", 1))
    home.segment("h-2-1.jsonl", line("e-3", 3), line("e-1", 1))
    before = home.ingest()
    rows = home.table.drop_columns(["segment"]).to_pylist()

    report = compact(home)

    assert (report.segments, report.kept, report.rows) == (2, 0, 3)
    assert closed_segments(home.logs) == [plain_path(home.logs, DAY)]
    assert [record.execution_id for record in read_executions(home.logs)] == ["e-2", "e-3", "e-1"]
    assert find_execution(home.logs, "e-3") is not None
    after = home.ingest()
    assert home.table.drop_columns(["segment"]).to_pylist() == rows
    assert (before.duplicates, after.rows, after.new_rows, after.duplicates) == (1, 3, 0, 0)
    assert after.segments == 1


def test_a_late_segment_joins_the_file_later(home, line):
    home.segment("h-1-1.jsonl", line("e-1"))
    compact(home)
    home.segment("late-1-1.jsonl", line("e-2"))

    assert compact(home).rows == 2
    assert sorted(ids(home)) == ["e-1", "e-2"]


def test_a_segment_with_a_bad_line_stays(home, line):
    home.segment("h-1-1.jsonl", line("e-1"), b"garbage")
    home.segment("h-2-1.jsonl", line("e-2"))

    report = compact(home)

    assert (report.segments, report.kept) == (1, 1)
    assert sorted(path.name for path in closed_segments(home.logs)) == ["executions_20261121.jsonl", "h-1-1.jsonl"]
    assert sorted(ids(home)) == ["e-1", "e-2"]
    assert home.ingest().quarantined == {"json": 1}


@pytest.mark.parametrize("stop", ["_write", "_remove", "ingest_day"])
@pytest.mark.parametrize("ingested_before", [True, False])
def test_wherever_it_stops_each_execution_is_there_once(home, line, monkeypatch, stop, ingested_before):
    home.segment("h-1-1.jsonl", line("e-1"), line("e-2"))
    home.segment("h-2-1.jsonl", line("e-3"))
    if ingested_before:
        home.ingest()

    def broken(*_):
        raise StorageError("The disk is full.", path="x")

    with monkeypatch.context() as patched:
        patched.setattr(module, stop, broken)
        with pytest.raises(StorageError):
            compact(home)

    home.ingest()
    assert sorted(ids(home)) == ["e-1", "e-2", "e-3"]
    assert compact(home).rows == 3
    assert sorted(ids(home)) == ["e-1", "e-2", "e-3"]
    assert closed_segments(home.logs) == [plain_path(home.logs, DAY)]
    assert home.ingest().duplicates == 0


def test_a_table_that_was_lost_is_made_again_from_the_file(home, line):
    home.segment("h-1-1.jsonl", line("e-1"), line("e-2"))
    compact(home)
    shutil.rmtree(home.tables)

    assert home.ingest().rows == 2


def test_only_days_that_have_been_over_for_long_enough_and_are_quiet(home, line):
    home.segment("h-1-1.jsonl", line("e-1"))

    assert days_to_compact(home.logs, date(2026, 11, 23), 2) == []
    assert days_to_compact(home.logs, date(2026, 11, 24), 2) == [DAY]
    home.segment("h-2-1.open", line("e-2"))
    assert days_to_compact(home.logs, date(2026, 11, 24), 2) == []


def test_two_processes_on_one_day_wait_for_each_other(home, line):
    import threading
    import time

    from orchestai.logs.ingest import day_lock

    home.segment("h-1-1.jsonl", line("e-1"))
    done = []
    with day_lock(home.tables, DAY):
        thread = threading.Thread(target=lambda: done.append(ingest_day(home.logs, DAY, home.tables, home.quarantine)))
        thread.start()
        time.sleep(0.2)
        assert not done
    thread.join(10)
    assert done[0].rows == 1
