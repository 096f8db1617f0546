"""What the clock starts."""

import dagster as dg

from jobs.keys import TRAIN_PLANNER
from orchestai.config import DagsterConfig


def nightly_retraining_schedule(config: DagsterConfig) -> dg.ScheduleDefinition:
    """Return the schedule that validates all logs and, if they pass, trains the planner on them.

    Raises:
        DagsterInvalidDefinitionError: `dagster.nightly_retraining` is not a cron line.
    """
    return dg.ScheduleDefinition(
        name="nightly_retraining",
        job_name=TRAIN_PLANNER,
        cron_schedule=config.nightly_retraining,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Validates all execution logs and, if they pass, prepares training data and trains the planner.",
    )
