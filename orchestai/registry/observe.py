"""What the log says of a release: one row a unit, the first time that it was served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from orchestai.contracts import ServedArm
from orchestai.logs.quarantine import BadLine
from orchestai.logs.reader import iter_segment
from orchestai.logs.record import ExecutionLogRecord
from orchestai.logs.segments import all_segments, list_days
from orchestai.registry.records import Release


@dataclass(frozen=True)
class Observation:
    """The first execution of one unit in a release.

    Attributes:
        unit: Tenant and instruction, hashed.
        execution_id: The execution.
        timestamp: When it ended.
        challenger: Whether the challenger served it.
        share: Probability with which it was put there.
        success: Whether the answer was accepted.
        cost_usd: Dollars.
        latency_ms: Milliseconds.
    """

    unit: str
    execution_id: str
    timestamp: datetime
    challenger: bool
    share: float
    success: bool
    cost_usd: float
    latency_ms: float


def observe(logs: Path, release: Release) -> list[Observation]:
    """Return what was observed in a release, in order of time.

    Answers from the cache are no executions and stand in no log. Of an instruction that comes again only the first
    execution counts: what was put on a side as a whole is analysed as a whole. In the release of a prompt only
    executions count that used a prompt of its task type.

    Args:
        logs: The execution logs, open segments included.
        release: Which release.

    Raises:
        StorageError: A segment cannot be read.
    """
    needle = release.id.encode()
    first: dict[str, Observation] = {}
    # A day earlier than the release: the clock of the machine that serves may be behind the registry's.
    first_day = release.started.date() - timedelta(days=1)
    for day in list_days(logs):
        if day < first_day:
            continue
        for path in all_segments(logs, day):
            for record in iter_segment(path, containing=needle):
                if isinstance(record, BadLine):
                    continue
                found = _observation(record, release)
                if found is None:
                    continue
                known = first.get(found.unit)
                if known is None or (found.timestamp, found.execution_id) < (known.timestamp, known.execution_id):
                    first[found.unit] = found
    return sorted(first.values(), key=lambda each: (each.timestamp, each.execution_id))


def _observation(record: ExecutionLogRecord, release: Release) -> Observation | None:
    serving = record.planner_outputs.serving
    if serving is None or record.source.kind != "live":
        return None
    arm = next((each for each in serving.arms if each.release == release.id), None)
    if arm is None or (arm.task_type is not None and not _used(record, arm)):
        return None
    return Observation(
        unit=serving.unit,
        execution_id=record.execution_id,
        timestamp=record.timestamp,
        challenger=arm.arm == "challenger",
        share=arm.share,
        success=record.success,
        cost_usd=record.cost,
        latency_ms=record.latency_ms,
    )


def _used(record: ExecutionLogRecord, arm: ServedArm) -> bool:
    return any(subtask.task_type == arm.task_type and subtask.prompt_version for subtask in record.subtasks)
