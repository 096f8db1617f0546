"""Executions of a day, or of the days of a backfill: closed log segments become a Parquet table a day."""

import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from orchestai.app.places import executions_folder
from orchestai.config import Project
from orchestai.logs import IngestReport, ingest_day
from orchestai_assets import keys
from orchestai_assets.io import column_schema, file_hash, picture, read_table, records, sample
from orchestai_assets.plots import executions_by_hour
from resources.orchestai_resource import OrchestAIResource
from resources.retries import retry_policy

SHOWN = ("timestamp", "instruction", "planner", "task_types", "workers", "success", "cost", "latency_ms")
DAYS_PER_RUN = 31
"""Days that one run of a backfill reads: a month in one run, a year in twelve."""


def execution_logs_asset(days: dg.DailyPartitionsDefinition, project: Project) -> dg.AssetsDefinition:
    """Return the asset, partitioned by `days`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of `backfill_policy`; the backfill test watches over it
        return _execution_logs(days, project)


def _execution_logs(days: dg.DailyPartitionsDefinition, project: Project) -> dg.AssetsDefinition:
    @dg.asset(
        key=keys.EXECUTION_LOGS,
        description="Every execution of a UTC day, read from closed log segments; reading again changes nothing.",
        group_name=keys.DATA,
        kinds={"parquet", "jsonl"},
        owners=keys.OWNERS,
        code_version="1",
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=DAYS_PER_RUN),
        pool=project.dagster.steps["cpu"].pool,
        retry_policy=retry_policy(project.automation.retries),
    )
    def execution_logs(context: dg.AssetExecutionContext, orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
        project = orchestai.project
        paths = project.paths
        reports = [
            ingest_day(paths.execution_logs, date.fromisoformat(day), executions_folder(project), paths.quarantine)
            for day in context.partition_keys
        ]
        rows = sum(report.rows for report in reports)
        table = read_table([report.path for report in reports], SHOWN)
        metadata: dict[str, Any] = {
            **_counts(reports),
            "successes": sum(table["success"].to_pylist()),
            "path": dg.MetadataValue.path(reports[-1].path),
            "sample": sample(table, SHOWN),
            "dagster/row_count": rows,
            "dagster/column_schema": column_schema(read_table([reports[-1].path]).schema),
        }
        if rows:
            metadata["executions"] = picture(executions_by_hour(table), "executions by hour and planner")
        if len(reports) > 1:
            shown = ("day", "rows", "new_rows", "segments", "duplicates")
            metadata["days"] = records(report.model_dump(include=set(shown)) for report in reports)
        version = dg.DataVersion(file_hash(*(report.path for report in reports)))
        return dg.MaterializeResult(metadata=metadata, data_version=version)

    return execution_logs


def _counts(reports: Sequence[IngestReport]) -> dict[str, Any]:
    rows = sum(report.rows for report in reports)
    quarantined = sum((Counter(report.quarantined) for report in reports), Counter[str]())
    return {
        "rows": rows,
        "new_rows": sum(report.new_rows for report in reports),
        "duplicates": sum(report.duplicates for report in reports),
        "segments": sum(report.segments for report in reports),
        "new_segments": sum(report.new_segments for report in reports),
        "quarantined": quarantined.total(),
        "quarantined_by_reason": records({"reason": name, "lines": n} for name, n in sorted(quarantined.items())),
        "simulated_share": sum(report.simulated_rows for report in reports) / rows if rows else 0.0,
        "seconds": sum(report.seconds for report in reports),
    }
