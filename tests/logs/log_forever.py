"""Logs until killed and prints an id when its record is on disk; count 0 means for ever."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from orchestai.config import LogsConfig
from orchestai.logs import ExecutionLogger, ExecutionLogRecord
from orchestai.logs.record import PlannerRecord

THREADS = 4


def main(directory: str, prefix: str, most: str) -> None:
    logger = ExecutionLogger(Path(directory), LogsConfig(segment_bytes=20_000, segment_seconds=60))
    numbers = iter(range(int(most))) if int(most) else count()
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            logger.log(
                ExecutionLogRecord(
                    timestamp=datetime.now(UTC),
                    instruction="x" * (number * 37 % 3000),
                    success=True,
                    cost=0.0,
                    latency_ms=1.0,
                    planner_outputs=PlannerRecord(),
                    execution_result={},
                    execution_id=f"{prefix}-{number}",
                    completed=True,
                )
            )
            with lock:
                sys.stdout.write(f"{prefix}-{number}\n")
                sys.stdout.flush()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
