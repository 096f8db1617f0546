from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from orchestai.errors import InputError
from orchestai.logs import ExecutionLogger, find_execution, list_days, read_executions

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def logs(tmp_path: Path, make_record) -> Path:
    """Three days: two closed segments, one open one, one plain file, one repeated line, one bad line."""
    directory = tmp_path / "execution_logs"

    def write(day: str, name: str, *records) -> None:
        (directory / day).mkdir(parents=True, exist_ok=True)
        (directory / day / name).write_bytes(b"".join(record.to_line() + b"\n" for record in records))

    old = make_record("abc-1", timestamp=NOON)
    write(
        "2026-11-20",
        "h-1-1.jsonl",
        old,
        make_record("abd-2", success=False, timestamp=NOON + timedelta(hours=1)),
    )
    write("2026-11-20", "h-2-1.jsonl", old)
    (directory / "2026-11-20" / "h-3-1.jsonl").write_bytes(b"garbage\n")
    write("2026-11-21", "h-1-2.open", make_record("xyz-3", timestamp=NOON + timedelta(days=1)))
    plain = {
        "timestamp": "2026-11-19T10:00:00",
        "instruction": "plain",
        "success": True,
        "cost": 0,
        "latency_ms": 1,
    }
    (directory / "executions_20261119.jsonl").write_text(json.dumps(plain))
    (directory / "notes").mkdir()
    return directory


def names(records) -> list[str]:
    return [record.execution_id[:6] for record in records]


def test_days(logs):
    assert list_days(logs) == [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 21)]


def test_newest_first_each_once(logs):
    assert names(read_executions(logs)) == ["xyz-3", "abd-2", "abc-1", "plain-"]


def test_filters(logs):
    assert names(read_executions(logs, failed=True)) == ["abd-2"]
    assert names(read_executions(logs, limit=2)) == ["xyz-3", "abd-2"]
    assert names(read_executions(logs, since=NOON + timedelta(hours=1))) == ["xyz-3", "abd-2"]
    assert names(read_executions(logs, since=datetime(2026, 11, 20, 12, 30))) == ["xyz-3", "abd-2"]  # noqa: DTZ001
    with pytest.raises(InputError, match="limit"):
        read_executions(logs, limit=0)


def test_no_logs_yet(tmp_path):
    assert read_executions(tmp_path / "none") == []
    assert list_days(tmp_path / "none") == []
    assert find_execution(tmp_path / "none", "a") is None


def test_find_by_id_and_by_prefix(logs):
    assert find_execution(logs, "abc-1").execution_id == "abc-1"
    assert find_execution(logs, "xy").execution_id == "xyz-3"
    assert find_execution(logs, "plain").instruction == "plain"
    assert find_execution(logs, "bc-1") is None
    with pytest.raises(InputError, match="abc-1, abd-2"):
        find_execution(logs, "ab")


def test_whole_id_wins_over_longer_ones(logs, make_record):
    with ExecutionLogger(logs) as logger:
        logger.log(make_record("abc-12"))
    assert find_execution(logs, "abc-1").execution_id == "abc-1"


def test_last_attempt_is_found(logs, make_record):
    with ExecutionLogger(logs) as logger:
        logger.log(make_record("abc-1", attempt=3))
        logger.log(make_record("abc-1", attempt=2))
    assert find_execution(logs, "abc-1").attempt == 3
