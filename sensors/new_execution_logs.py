"""Closed log segments start a run of their day."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from jobs.keys import INGEST_AND_VALIDATE
from orchestai.config.automation import SensorsConfig
from orchestai.logs import closed_segments, repair_orphans
from orchestai.logs.segments import day_of
from resources.orchestai_resource import OrchestAIResource
from sensors.ingested import SEGMENTS, outcomes

MOST_REQUESTS = 4
"""Runs that one content of a day is worth before somebody has to look; each failure is alerted of."""


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
            if cursor.is_unchanged(day, segments) or run_waits(context.instance, day):
                continue
            content = cursor.changed_content(day, segments)
            if content is None:
                continue
            requests.append(request(day, content))
            # The next tick goes on where this one ends: a tick that took too long would be repeated from its start.
            if len(requests) >= config.days_per_tick or time.monotonic() >= ends:
                break
        requests += again(cursor, context, most=config.days_per_tick - len(requests))
        if unknown:
            context.log.warning(
                f"Not ingested, because outside of the partitions: {', '.join(unknown)}. "
                "Set `dagster.start_date` in project.yml to an earlier day."
            )
        idle = None if requests else "No day has segments that were not requested before."
        return dg.SensorResult(run_requests=requests, skip_reason=idle, cursor=cursor.write())

    return new_execution_logs


def request(day: date, content: str, attempt: int = 1) -> dg.RunRequest:
    """Return the run of a day. Dagster never starts two runs with one key: hence the content in it."""
    return dg.RunRequest(
        run_key=f"{day.isoformat()}:{content}" + (f":{attempt}" if attempt > 1 else ""),
        partition_key=day.isoformat(),
        tags={SEGMENTS: content},
    )


def run_waits(instance: dg.DagsterInstance, day: date) -> bool:
    """Say whether a run of a day has yet to start: it will read what has come meanwhile, too."""
    tags = {"dagster/partition": day.isoformat()}
    waiting = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
    return instance.get_runs_count(dg.RunsFilter(job_name=INGEST_AND_VALIDATE, statuses=waiting, tags=tags)) > 0


def again(cursor: "DayCursor", context: dg.SensorEvaluationContext, *, most: int) -> Iterator[dg.RunRequest]:
    """Ask again for days whose run ended before it had ingested them: killed too often, or on a disk that was full."""
    pending = cursor.pending()
    found = outcomes(context.instance, list(pending.values()))
    for day, content in pending.items():
        outcome = found.get(content)
        if outcome == "ingested":
            cursor.settle(day)
        elif outcome == "lost" and most > 0:
            most -= 1
            attempt = cursor.ask_again(day)
            if attempt > MOST_REQUESTS:
                cursor.settle(day)
                context.log.error(
                    f"{MOST_REQUESTS} runs did not ingest {day}. Mend what they say, then materialise it by hand."
                )
            else:
                context.log.warning(f"The run of {day} did not ingest it: asked for again, time {attempt}.")
                yield request(day, content, attempt)


class DayCursor:
    """What was requested of each day: cheap facts to see a change, and the hash of the content behind them.

    `asked` counts the runs that were requested for the content; it is gone as soon as one of them has ingested it.
    """

    def __init__(self, seen: dict[str, dict[str, Any]]) -> None:
        self._seen = seen

    @classmethod
    def read(cls, cursor: str | None) -> "DayCursor":
        """Return the cursor that Dagster kept; one that is not ours starts anew, which repeats nothing."""
        try:
            seen = json.loads(cursor) if cursor else {}
        except ValueError:
            seen = {}
        ours = isinstance(seen, dict) and all(isinstance(each, dict) and "content" in each for each in seen.values())
        return cls(seen if ours else {})

    def write(self) -> str:
        """Return the cursor for Dagster to keep."""
        return json.dumps(self._seen, sort_keys=True)

    def is_unchanged(self, day: date, segments: Sequence[Path]) -> bool:
        """Say whether names, sizes and times are those of the last request."""
        known = self._seen.get(day.isoformat(), {})
        return known.get("facts") == _digest(*(_facts(segment) for segment in segments))

    def changed_content(self, day: date, segments: Sequence[Path]) -> str | None:
        """Return the hash of the segments' content if it is new, and remember it.

        Files are only read when their names, sizes or times differ from those of the last tick.
        """
        facts = _digest(*(_facts(segment) for segment in segments))
        known = self._seen.get(day.isoformat(), {})
        if known.get("facts") == facts:
            return None
        content = _digest(*(_content(segment) for segment in segments))
        if known.get("content") == content:
            self._seen[day.isoformat()] = {**known, "facts": facts}
            return None
        self._seen[day.isoformat()] = {"facts": facts, "content": content, "asked": 1}
        return content

    def pending(self) -> dict[date, str]:
        """Return the content of the days that no run is known to have ingested yet."""
        return {date.fromisoformat(day): seen["content"] for day, seen in self._seen.items() if "asked" in seen}

    def ask_again(self, day: date) -> int:
        """Count one more run for a day, and return how many there are then."""
        seen = self._seen[day.isoformat()]
        seen["asked"] += 1
        return int(seen["asked"])

    def settle(self, day: date) -> None:
        """Ask for the content of a day no more."""
        self._seen[day.isoformat()].pop("asked", None)


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
