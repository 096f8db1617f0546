"""Writers and readers are killed at random moments: each acknowledged execution is in the Parquet exactly once."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestai.logs import closed_segments, plain_path
from orchestai.logs.segments import day_of

HERE = Path(__file__).parent


class Killed:
    """One process of a script of ours, with what it has printed."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [sys.executable, str(HERE / script), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.lines.append(line.strip())

    def kill(self) -> list[str]:
        self.process.send_signal(signal.SIGKILL)
        return self.wait()

    def wait(self) -> list[str]:
        self.process.wait(timeout=120)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.lines


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_nothing_is_repeated_and_nothing_is_skipped(rounds: int, tmp_path: Path) -> None:
    rng = random.Random(rounds)
    acknowledged: list[str] = []
    for number in range(rounds):
        # Two readers at once, as two daemons would start them.
        readers = [Killed("ingest_forever.py", str(tmp_path), "forever") for _ in range(2)]
        writer = Killed("log_forever.py", str(tmp_path / "execution_logs"), f"r{number}", "0")
        while not writer.lines:  # a busy machine takes seconds to start it
            time.sleep(0.05)
        time.sleep(rng.uniform(0.2, 0.8))
        for process in rng.sample([writer, *readers], 3):
            lines = process.kill()
            acknowledged += lines if process is writer else []
            time.sleep(rng.uniform(0, 0.3))

    Killed("ingest_forever.py", str(tmp_path), "once").wait()

    found: Counter[str] = Counter()
    for table in (tmp_path / "tables").glob("*.parquet"):
        found.update(pq.read_table(table)["execution_id"].to_pylist())
    assert len(acknowledged) > 20 * rounds
    assert {name for name in acknowledged if found[name] != 1} == set()
    assert max(found.values()) == 1
    assert all(path == plain_path(path.parent, day_of(path)) for path in closed_segments(tmp_path / "execution_logs"))
