"""Executions of one day: closed log segments become a Parquet table."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from orchestai.app.places import executions_folder
from orchestai.logs import IngestReport, ingest_day
from orchestai_assets import keys
from orchestai_assets.io import column_schema, file_hash, picture, read_table, records, sample
from orchestai_assets.plots import executions_by_hour
from resources.orchestai_resource import OrchestAIResource

SHOWN = ("timestamp", "instruction", "planner", "task_types", "workers", "success", "cost", "latency_ms")


def execution_logs_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Return the asset, partitioned by `days`."""

    @dg.asset(
        key=keys.EXECUTION_LOGS,
        description="Every execution of a UTC day, read from closed log segments; reading again changes nothing.",
        group_name=keys.DATA,
        kinds={"parquet", "jsonl"},
        owners=keys.OWNERS,
        code_version="1",
        partitions_def=days,
    )
    def execution_logs(context: dg.AssetExecutionContext, orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
        project = orchestai.project
        report = ingest_day(
            project.paths.execution_logs,
            date.fromisoformat(context.partition_key),
            executions_folder(project),
            project.paths.quarantine,
        )
        table = read_table([report.path])
        successes = sum(table["success"].to_pylist())
        metadata: dict[str, Any] = {
            **_counts(report),
            "successes": successes,
            "path": dg.MetadataValue.path(report.path),
            "sample": sample(table, SHOWN),
            "dagster/row_count": report.rows,
            "dagster/column_schema": column_schema(table.schema),
        }
        if report.rows:
            metadata["executions"] = picture(executions_by_hour(table), "executions by hour and planner")
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(file_hash(report.path)))

    return execution_logs


def _counts(report: IngestReport) -> dict[str, Any]:
    reasons: Sequence[dict[str, object]] = [
        {"reason": reason, "lines": lines} for reason, lines in report.quarantined.items()
    ]
    return {
        "rows": report.rows,
        "new_rows": report.new_rows,
        "duplicates": report.duplicates,
        "segments": report.segments,
        "new_segments": report.new_segments,
        "quarantined": sum(report.quarantined.values()),
        "quarantined_by_reason": records(reasons),
        "simulated_share": report.simulated_rows / report.rows if report.rows else 0.0,
        "seconds": report.seconds,
    }
