from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from orchestai.config import LogsConfig
from orchestai.errors import DataError, StorageError
from orchestai.logs import ExecutionLogger, closed_segments, list_days, read_executions, read_segment
from orchestai.logs.segments import all_segments

DAY = date(2026, 11, 21)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "execution_logs"


def ids(directory: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in all_segments(directory):
        content = read_segment(path)
        assert not content.bad_lines
        found.update(record.execution_id for record in content.records)
    return found


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_acknowledged_record_is_in_the_file(logs, make_record):
    with ExecutionLogger(logs) as logger:
        logger.log(make_record("e-1"))
        (path,) = all_segments(logs)
        assert path.suffix == ".open"
        assert path.parent.name == datetime.now(UTC).date().isoformat()
        assert path.name.rsplit("-", 2)[1:] == [str(os.getpid()), "1.open"]
        assert ids(logs) == {"e-1": 1}
        assert closed_segments(logs) == []
    assert closed_segments(logs) == [path.with_suffix(".jsonl")]
    assert not path.exists()
    writer = read_executions(logs)[0].writer
    assert writer == path.stem.rsplit("-", 1)[0]


def test_logger_that_logs_nothing_leaves_nothing(logs):
    with ExecutionLogger(logs):
        pass
    assert list(logs.iterdir()) == []


def test_many_threads_lose_nothing_and_share_syncs(logs, make_record, monkeypatch):
    syncs = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(fd), time.sleep(0.002), real(fd)))
    wanted = [f"t{thread}-{number}" for thread in range(16) for number in range(20)]
    records = {name: make_record(name) for name in wanted}
    with ExecutionLogger(logs) as logger:

        def work(thread: int) -> None:
            for number in range(20):
                logger.log(records[f"t{thread}-{number}"])

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ids(logs) == dict.fromkeys(wanted, 1)
    assert len(syncs) < len(wanted) / 2


async def test_many_tasks(logs, make_record):
    logger = ExecutionLogger(logs)
    await asyncio.gather(*(logger.alog(make_record(f"a-{number}")) for number in range(100)))
    assert ids(logs) == {f"a-{number}": 1 for number in range(100)}
    await asyncio.to_thread(logger.close)


async def test_cancelled_caller_keeps_the_record(logs, make_record):
    with ExecutionLogger(logs) as logger:
        task = asyncio.create_task(logger.alog(make_record("c-1")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await logger.alog(make_record("c-2"))
    assert ids(logs) == {"c-1": 1, "c-2": 1}


def test_segment_closes_at_its_size(logs, make_record):
    size = len(make_record("s-0").model_copy(update={"writer": "w" * 20}).to_line())
    with ExecutionLogger(logs, LogsConfig(segment_bytes=2 * size)) as logger:
        for number in range(7):
            logger.log(make_record(f"s-{number}"))
        wait_until(lambda: len(closed_segments(logs)) >= 2)
        assert all(path.stat().st_size < 3 * size + 200 for path in closed_segments(logs))
    assert sum(ids(logs).values()) == 7


def test_segment_closes_at_its_age_without_another_record(logs, make_record):
    with ExecutionLogger(logs, LogsConfig(segment_seconds=0.2)) as logger:
        logger.log(make_record("e-1"))
        assert closed_segments(logs) == []
        wait_until(lambda: len(closed_segments(logs)) == 1)
        logger.log(make_record("e-2"))
    assert [path.name.rsplit("-", 1)[1] for path in closed_segments(logs)] == ["1.jsonl", "2.jsonl"]


def test_segment_closes_at_midnight_utc(logs, make_record):
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    start = time.monotonic()

    def clock() -> datetime:
        return midnight - timedelta(seconds=0.3) + timedelta(seconds=time.monotonic() - start)

    with ExecutionLogger(logs, clock=clock) as logger:
        logger.log(make_record("before"))
        wait_until(lambda: len(closed_segments(logs, DAY)) == 1)
        assert clock() >= midnight
        logger.log(make_record("after"))
    assert list_days(logs) == [DAY, DAY + timedelta(days=1)]
    (late,) = closed_segments(logs, DAY + timedelta(days=1))
    assert [record.execution_id for record in read_segment(late).records] == ["after"]


def test_used_up_name_is_not_taken_again(logs, make_record):
    with ExecutionLogger(logs) as logger:
        logger.log(make_record("first"))
    with ExecutionLogger(logs) as logger:
        logger.log(make_record("second"))
    assert ids(logs) == {"first": 1, "second": 1}
    assert len(closed_segments(logs)) == 2


def test_two_loggers_of_one_process(logs, make_record):
    with ExecutionLogger(logs) as one, ExecutionLogger(logs) as two:
        one.log(make_record("one"))
        two.log(make_record("two"))
        assert len(all_segments(logs)) == 2
    assert ids(logs) == {"one": 1, "two": 1}


def test_closed_logger_says_so(logs, make_record):
    logger = ExecutionLogger(logs)
    logger.close()
    logger.close()
    with pytest.raises(StorageError, match=r"closed\. Open a new"):
        logger.log(make_record())


def test_record_longer_than_readers_read_is_refused(logs, make_record):
    with ExecutionLogger(logs) as logger:
        with pytest.raises(DataError, match="16,777,216 are allowed"):
            logger.log(make_record(answer="x" * (17 << 20)))
        logger.log(make_record("e-2"))
    assert ids(logs) == {"e-2": 1}


def test_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="ORCHESTAI_HOME") as caught:
        ExecutionLogger(tmp_path / "file" / "logs")
    assert caught.value.path == str(tmp_path / "file" / "logs")


def test_import_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, orchestai.logs\n"
        "print([m for m in ('torch', 'transformers', 'pandas', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
