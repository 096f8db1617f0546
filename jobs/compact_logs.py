"""Compaction: the segments of each day that is over become its one documented file."""

from datetime import UTC, datetime

import dagster as dg

from jobs.keys import COMPACT_LOGS
from orchestai.app.places import executions_folder
from orchestai.config import Project
from orchestai.logs import compact_day, days_to_compact
from resources.executors import executor_for
from resources.orchestai_resource import OrchestAIResource
from resources.retries import retry_policy


def compact_logs_job(project: Project) -> dg.JobDefinition:
    """Return the job."""

    @dg.op(pool=project.dagster.steps["cpu"].pool, retry_policy=retry_policy(project.automation.retries))
    def compact_days(context: dg.OpExecutionContext, orchestai: OrchestAIResource) -> None:
        project = orchestai.project
        paths = project.paths
        today = datetime.now(UTC).date()
        reports = []
        for day in days_to_compact(paths.execution_logs, today, project.automation.compaction.after_days):
            report = compact_day(paths.execution_logs, day, executions_folder(project), paths.quarantine)
            context.log.info(f"{day}: {report.segments} segments into {report.path.name}, {report.kept} kept")
            reports.append(report)
        context.add_output_metadata(
            {
                "days": len(reports),
                "segments": sum(report.segments for report in reports),
                "kept": sum(report.kept for report in reports),
                "executions": sum(report.rows for report in reports),
            }
        )

    @dg.job(
        name=COMPACT_LOGS,
        executor_def=executor_for(project.dagster),
        description="Makes one `executions_YYYYMMDD.jsonl` of the segments of each day that is over.",
    )
    def job() -> None:
        compact_days()

    return job
