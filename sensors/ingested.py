"""What became of the ingestion of a day's segments: a run that died must not be the last word on them."""

import time
from collections.abc import Collection
from typing import Literal

import dagster as dg

from orchestai_assets import keys
from sensors.facts import IN_PROGRESS

SEGMENTS = "orchestai/segments"
"""Tag of an ingestion: hash of the content that it was started for."""

Outcome = Literal["ingested", "lost"]

_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
SETTLED_S = 60.0
"""Seconds after the end of a failed run in which it is left to Dagster, which may start it again itself."""


def outcomes(instance: dg.DagsterInstance, contents: Collection[str]) -> dict[str, Outcome]:
    """Return what became of contents; one that is still worked on, or waits, is not in the answer.

    A run whose data were refused did ingest them. One that failed counts after a while only: Dagster itself starts
    a run again whose process died.

    Args:
        instance: The instance.
        contents: Hashes of segments, as in the tag of their runs.
    """
    found: dict[str, Outcome] = {}
    if not contents:
        return found
    failed: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(dg.RunsFilter(statuses=_OVER, tags={SEGMENTS: list(contents)})):
        content = record.dagster_run.tags[SEGMENTS]
        if record.dagster_run.status is dg.DagsterRunStatus.SUCCESS:
            found[content] = "ingested"
        else:
            failed.setdefault(content, []).append(record)
    open_questions = {content: records for content, records in failed.items() if content not in found}
    if not open_questions:
        return found
    waiting = instance.get_run_records(dg.RunsFilter(statuses=IN_PROGRESS, tags={SEGMENTS: list(open_questions)}))
    going_on = {record.dagster_run.tags[SEGMENTS] for record in waiting}
    for content, records in open_questions.items():
        if any(_ingested(instance, record.dagster_run.run_id) for record in records):
            found[content] = "ingested"
        elif content not in going_on and time.time() - max(record.end_time or 0 for record in records) > SETTLED_S:
            found[content] = "lost"
    return found


def _ingested(instance: dg.DagsterInstance, run_id: str) -> bool:
    made = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    found = (entry.asset_materialization for entry in made)
    return any(each is not None and each.asset_key == keys.EXECUTION_LOGS for each in found)
