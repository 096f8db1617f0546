"""What dies here are real processes, and what refuses here is the real system."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestai.errors import StorageError
from orchestai.logs import ExecutionLogger, closed_segments, read_executions, read_segment, repair_orphans
from orchestai.logs.segments import all_segments

SCRIPT = Path(__file__).with_name("log_forever.py")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "execution_logs"


def start(logs: Path, prefix: str, count: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(logs), prefix, str(count)], stdout=subprocess.PIPE, text=True
    )


def read_all(logs: Path) -> tuple[Counter[str], list[str]]:
    found: Counter[str] = Counter()
    bad: list[str] = []
    for path in all_segments(logs):
        content = read_segment(path)
        found.update(record.execution_id for record in content.records)
        bad += [line.reason for line in content.bad_lines]
    return found, bad


def test_kill_9_loses_no_acknowledged_record(logs):
    rng = random.Random(7)
    acknowledged: list[str] = []
    torn = 0
    for round_number in range(6):
        process = start(logs, f"r{round_number}")
        assert process.stdout is not None
        acknowledged.append(process.stdout.readline().strip())
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()
        torn += sum(item.bytes_quarantined > 0 for item in repair_orphans(logs))
    assert [path for path in all_segments(logs) if path.suffix == ".open"] == []
    found, bad = read_all(logs)
    assert bad == []
    assert len(acknowledged) > 100
    assert {name: found[name] for name in acknowledged} == dict.fromkeys(acknowledged, 1)
    # A record may be on disk whose writer died before it could say so, but none may be there twice.
    assert max(found.values()) == 1
    assert len(list((logs.parent / "quarantine").rglob("*.torn.jsonl"))) == torn


def test_two_processes_at_once(logs):
    processes = [start(logs, name, 300) for name in ("left", "right")]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert len(output.splitlines()) == 300
    found, bad = read_all(logs)
    assert bad == []
    assert found == {f"{name}-{number}": 1 for name in ("left", "right") for number in range(300)}
    # The script never closes its logger: leaving the process did.
    assert all(path.suffix == ".jsonl" for path in all_segments(logs))


def test_next_start_leaves_living_writers_alone_and_closes_dead_ones(logs, make_record):
    process = start(logs, "alive")
    assert process.stdout is not None
    process.stdout.readline()
    try:
        assert repair_orphans(logs) == []
        with ExecutionLogger(logs) as logger:
            logger.log(make_record("mine"))
            # It closes one segment and opens the next all the time: look until one is open.
            deadline = time.monotonic() + 10
            while not any(path.suffix == ".open" and str(process.pid) in path.name for path in all_segments(logs)):
                assert time.monotonic() < deadline, "the living writer's segment was taken from it"
    finally:
        process.kill()
        process.communicate()
    with ExecutionLogger(logs):
        assert all(path.suffix == ".jsonl" for path in all_segments(logs))


def test_torn_tail_goes_to_quarantine_and_good_lines_stay(logs, make_record):
    day = logs / "2026-11-21"
    day.mkdir(parents=True)
    good, tail = make_record("kept").to_line() + b"\n", make_record("torn").to_line()[:-9]
    (day / "h-1-1.open").write_bytes(good + b"garbage\n" + tail)
    (repaired,) = repair_orphans(logs)
    assert (repaired.bytes_kept, repaired.bytes_quarantined) == (len(good) + 8, len(tail))
    assert (day / "h-1-1.jsonl").read_bytes() == good + b"garbage\n"
    assert not (day / "h-1-1.open").exists()
    row = json.loads((logs.parent / "quarantine" / "2026-11-21" / "h-1-1.torn.jsonl").read_text())
    assert (row["reason"], row["line"], row["offset"]) == ("torn", 3, len(good) + 8)
    assert row["raw"].encode() == tail
    assert repair_orphans(logs) == []


def test_whole_last_line_without_line_break_is_kept(logs, make_record):
    day = logs / "2026-11-21"
    day.mkdir(parents=True)
    (day / "h-1-1.open").write_bytes(make_record("kept").to_line())
    (day / "h-1-2.open").write_bytes(b"")
    repair_orphans(logs)
    assert [path.name for path in all_segments(logs)] == ["h-1-1.jsonl"]
    assert read_all(logs) == ({"kept": 1}, [])
    assert (day / "h-1-1.jsonl").read_bytes().endswith(b"}\n")


def test_fork_gets_a_segment_of_its_own(logs, make_record):
    logger = ExecutionLogger(logs)
    logger.log(make_record("parent-before"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            logger.log(make_record("child"))
            logger.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    logger.log(make_record("parent-after"))
    # The child let go of the file, yet the parent's lock must have survived that.
    assert repair_orphans(logs) == []
    logger.close()
    assert read_all(logs) == ({"parent-before": 1, "child": 1, "parent-after": 1}, [])
    writers = {record.execution_id: record.writer for record in read_executions(logs)}
    assert writers["child"].endswith(f"-{child}")
    assert writers["parent-after"].endswith(f"-{os.getpid()}")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 KiB where that is allowed."""
    path = tmp_path / "tiny"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this user cannot mount a tmpfs; the limit on file sizes covers the same path")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_full_disk(tiny_disk, make_record):
    logs = tiny_disk / "execution_logs"
    logger = ExecutionLogger(logs)
    logger.log(make_record("before"))
    filler = tiny_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(65_536))
    with pytest.raises(StorageError, match=r"No space left on device\. Free some space") as caught:
        logger.log(make_record("refused", answer="x" * 9000))
    assert caught.value.path.startswith(str(logs))
    (segment,) = all_segments(logs)
    assert segment.read_bytes().count(b"\n") == 1
    assert read_all(logs) == ({"before": 1}, [])
    filler.unlink()
    logger.log(make_record("after", answer="x" * 9000))
    logger.close()
    assert read_all(logs) == ({"before": 1, "after": 1}, [])


def test_disk_full_from_the_start(tiny_disk, make_record):
    logs = tiny_disk / "execution_logs"
    with ExecutionLogger(logs) as logger:
        with pytest.raises(StorageError, match="No space"):
            logger.log(make_record("too large", answer="x" * 100_000))
        logger.log(make_record("fits"))
    assert read_all(logs) == ({"fits": 1}, [])


def test_file_size_limit(logs, make_record):
    """Half of the line reaches the file before the limit is met, and must not stay."""
    size = len(make_record("e-1").to_line())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ExecutionLogger(logs) as logger:
        logger.log(make_record("e-1"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, hard))
        try:
            with pytest.raises(StorageError, match="ulimit -f"):
                logger.log(make_record("e-2"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        (segment,) = all_segments(logs)
        assert segment.read_bytes().endswith(b"}\n")
        assert read_all(logs) == ({"e-1": 1}, [])
        logger.log(make_record("e-3"))
    assert read_all(logs) == ({"e-1": 1, "e-3": 1}, [])


def in_child_without_rights(work) -> str:
    """Run `work` in a child that is nobody, and return what it returns."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(write_end, work().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer


@pytest.fixture
def open_logs() -> Iterator[Path]:
    """A folder that others can reach: pytest keeps its own private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "execution_logs"


def test_read_only_directory(open_logs):
    logs = open_logs
    logs.mkdir()
    logs.chmod(0o555)

    def work() -> str:
        try:
            ExecutionLogger(logs)
        except StorageError as error:
            return f"{error.path}|{error}"
        return "no error"

    path, message = in_child_without_rights(work).split("|")
    assert path == str(logs)
    assert "Permission denied" in message
    assert "Give this user write permission" in message
    assert list(logs.iterdir()) == []


def test_directory_that_turns_read_only(open_logs, make_record):
    logs = open_logs
    logs.mkdir()
    logs.chmod(0o777)
    record = make_record()

    def work() -> str:
        logger = ExecutionLogger(logs)
        day = logs / logger._today().isoformat()
        day.mkdir()
        day.chmod(0o555)
        try:
            logger.log(record)
        except StorageError as error:
            day.chmod(0o755)
            logger.log(record)
            logger.close()
            return str(error)
        return "no error"

    assert "Permission denied. Give this user" in in_child_without_rights(work)
    assert read_all(logs) == ({"e-1": 1}, [])
    assert len(closed_segments(logs)) == 1
