"""Closed log segments start a run of their day."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import dagster as dg

from jobs.keys import INGEST_AND_VALIDATE
from orchestai.config.automation import SensorsConfig
from orchestai.logs import closed_segments, repair_orphans
from orchestai.logs.segments import day_of
from resources.orchestai_resource import OrchestAIResource


def new_execution_logs_sensor(days: dg.DailyPartitionsDefinition, config: SensorsConfig) -> dg.SensorDefinition:
    """Return the sensor."""

    @dg.sensor(
        name="new_execution_logs",
        job_name=INGEST_AND_VALIDATE,
        minimum_interval_seconds=config.logs_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Closed log segments, also late ones of an old day, start ingestion and validation of their day.",
    )
    def new_execution_logs(context: dg.SensorEvaluationContext, orchestai: OrchestAIResource) -> dg.SensorResult:
        paths = orchestai.project.paths
        repaired = repair_orphans(paths.execution_logs, paths.quarantine)
        for segment in repaired:
            context.log.info(f"Closed the segment of a dead writer: {segment.path}")
        ends = time.monotonic() + config.seconds_per_tick
        cursor = DayCursor.read(context.cursor)
        requests = []
        unknown = []
        for day, segments in sorted(_by_day(paths.execution_logs).items()):
            if not days.has_partition_key(day.isoformat()):
                unknown.append(day.isoformat())
                continue
            content = cursor.changed_content(day, segments)
            if content is None:
                continue
            requests.append(request(day, content))
            # The next tick goes on where this one ends: a tick that took too long would be repeated from its start.
            if len(requests) >= config.days_per_tick or time.monotonic() >= ends:
                break
        if unknown:
            context.log.warning(
                f"Not ingested, because outside of the partitions: {', '.join(unknown)}. "
                "Set `dagster.start_date` in project.yml to an earlier day."
            )
        idle = None if requests else "No day has segments that were not requested before."
        return dg.SensorResult(run_requests=requests, skip_reason=idle, cursor=cursor.write())

    return new_execution_logs


def request(day: date, content: str) -> dg.RunRequest:
    """Return the run of a day. Dagster never starts two runs with one key: hence the content in it."""
    return dg.RunRequest(
        run_key=f"{day.isoformat()}:{content}",
        partition_key=day.isoformat(),
        tags={"orchestai/segments": content},
    )


class DayCursor:
    """What was requested of each day: cheap facts to see a change, and the hash of the content behind them."""

    def __init__(self, seen: dict[str, dict[str, str]]) -> None:
        self._seen = seen

    @classmethod
    def read(cls, cursor: str | None) -> "DayCursor":
        """Return the cursor that Dagster kept; one that is not ours starts anew, which repeats nothing."""
        try:
            seen = json.loads(cursor) if cursor else {}
        except ValueError:
            seen = {}
        return cls(seen if isinstance(seen, dict) else {})

    def write(self) -> str:
        """Return the cursor for Dagster to keep."""
        return json.dumps(self._seen, sort_keys=True)

    def changed_content(self, day: date, segments: Sequence[Path]) -> str | None:
        """Return the hash of the segments' content if it is new, and remember it.

        Files are only read when their names, sizes or times differ from those of the last tick.
        """
        facts = _digest(*(_facts(segment) for segment in segments))
        known = self._seen.get(day.isoformat(), {})
        if known.get("facts") == facts:
            return None
        content = _digest(*(_content(segment) for segment in segments))
        self._seen[day.isoformat()] = {"facts": facts, "content": content}
        return None if known.get("content") == content else content


def _by_day(directory: Path) -> dict[date, list[Path]]:
    segments: dict[date, list[Path]] = defaultdict(list)
    for segment in closed_segments(directory):
        day = day_of(segment)
        if day is not None:
            segments[day].append(segment)
    return segments


def _facts(segment: Path) -> str:
    stat = segment.stat()
    return f"{segment.name} {stat.st_size} {stat.st_mtime_ns}"


def _content(segment: Path) -> str:
    with segment.open("rb") as stream:
        return f"{segment.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
