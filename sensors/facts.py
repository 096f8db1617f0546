"""What sensors read of the instance: last materializations, and runs that are not over."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from jobs.asset_jobs import TRAINS

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Last:
    """The last materialization of an asset.

    Attributes:
        metadata: Its metadata by name, as plain values.
        at: When.
        data_version: Hash of its content, empty if it has none.
    """

    def __init__(self, event: dg.EventLogEntry) -> None:
        found = event.asset_materialization
        self.metadata: dict[str, Any] = {name: value.value for name, value in found.metadata.items()} if found else {}
        self.at = datetime.fromtimestamp(event.timestamp, UTC)
        self.data_version = (found.tags or {}).get("dagster/data_version", "") if found else ""


def last(instance: dg.DagsterInstance, key: dg.AssetKey) -> Last | None:
    """Return the last materialization of an asset; None if there never was one."""
    event = instance.get_latest_materialization_event(key)
    return Last(event) if event is not None else None


def trainings(instance: dg.DagsterInstance) -> int:
    """Return how many trainings run or wait."""
    return instance.get_runs_count(dg.RunsFilter(statuses=IN_PROGRESS, tags=TRAINS))
