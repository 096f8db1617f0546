"""The way in: merges what Dagster shows. The configuration decides partitions, pools, crons and executors."""

import dagster as dg

from jobs.asset_jobs import ingest_and_validate_job, train_planner_job, train_router_job
from jobs.collect_executions import collect_executions_job
from jobs.live_instruction import live_instruction_job
from orchestai.config import Project, load_project
from orchestai_assets.assets import all_assets
from orchestai_assets.checks import all_checks
from orchestai_assets.partitions import days
from resources.orchestai_resource import OrchestAIResource
from resources.step_files import JsonFiles
from resources.wandb_resource import WandbResource
from sensors.automation import automation_sensor
from sensors.failures import alert_on_failure
from sensors.new_execution_logs import new_execution_logs_sensor
from sensors.schedules import nightly_retraining_schedule


def build_definitions(project: Project) -> dg.Definitions:
    """Return everything that Dagster shows for a project."""
    partitions = days(project.dagster)
    return dg.Definitions(
        assets=all_assets(project, partitions),
        asset_checks=all_checks(),
        jobs=[
            ingest_and_validate_job(project),
            train_planner_job(project),
            train_router_job(project),
            live_instruction_job(project),
            collect_executions_job(project),
        ],
        schedules=[nightly_retraining_schedule(project.dagster)],
        sensors=[new_execution_logs_sensor(partitions), automation_sensor(), alert_on_failure],
        resources={
            "orchestai": OrchestAIResource(),
            "step_files": JsonFiles(),
            "wandb_tracking": WandbResource(),
        },
    )


defs = build_definitions(load_project())
