"""What the clock starts."""

import dagster as dg

from jobs.keys import CHECK_FRESHNESS, COMPACT_LOGS, TRAIN_EVERYTHING, TRAIN_PLANNER
from orchestai.config import AutomationConfig, DagsterConfig
from sensors.facts import trainings


def all_schedules(config: DagsterConfig, automation: AutomationConfig) -> list[dg.ScheduleDefinition]:
    """Return all schedules.

    Raises:
        DagsterInvalidDefinitionError: A cron line of the configuration is none.
    """
    return [
        _training(
            "nightly_retraining",
            TRAIN_PLANNER,
            config.nightly_retraining,
            "Validates the newest execution logs and, if they pass, trains the planner on them.",
        ),
        _training(
            "weekly_retraining",
            TRAIN_EVERYTHING,
            automation.weekly_retraining,
            "Trains everything that learns from executions anew, if they pass validation.",
        ),
        _clock(
            "log_compaction",
            COMPACT_LOGS,
            automation.compaction.cron,
            "Makes one `executions_YYYYMMDD.jsonl` of the segments of each day that is over.",
        ),
        _clock(
            "freshness", CHECK_FRESHNESS, automation.freshness.cron, "Looks how old the parts of the loop have become."
        ),
    ]


def _clock(name: str, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )


def _training(name: str, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def start(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if running := trainings(context.instance):
            return dg.SkipReason(f"{running} training(s) run or wait already.")
        return dg.RunRequest()

    return start
