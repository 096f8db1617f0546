"""The way in: merges what Dagster shows. The configuration decides partitions, pools, crons and executors."""

import dagster as dg

from jobs.asset_jobs import (
    check_freshness_job,
    ingest_and_validate_job,
    train_everything_job,
    train_planner_job,
    train_policy_job,
    train_router_job,
)
from jobs.collect_executions import collect_executions_job
from jobs.compact_logs import compact_logs_job
from jobs.live_instruction import live_instruction_job
from jobs.validate_file import validate_file_job
from orchestai.config import Project, load_project
from orchestai_assets.assets import all_assets
from orchestai_assets.checks import all_checks
from orchestai_assets.checks.freshness import freshness_checks
from orchestai_assets.partitions import days
from resources.orchestai_resource import OrchestAIResource
from resources.step_files import JsonFiles
from resources.wandb_resource import WandbResource
from sensors.all import all_sensors
from sensors.schedules import all_schedules


def build_definitions(project: Project) -> dg.Definitions:
    """Return everything that Dagster shows for a project."""
    automation = project.automation
    partitions = days(project.dagster)
    ages = freshness_checks(automation.freshness)
    return dg.Definitions(
        assets=all_assets(project, partitions),
        asset_checks=[*all_checks(), *ages],
        jobs=[
            ingest_and_validate_job(project),
            train_planner_job(project),
            train_everything_job(project),
            train_policy_job(project),
            train_router_job(project),
            live_instruction_job(project),
            collect_executions_job(project),
            validate_file_job(project),
            compact_logs_job(project),
            check_freshness_job(project, ages),
        ],
        schedules=all_schedules(project.dagster, automation),
        sensors=all_sensors(automation, partitions),
        resources={
            "orchestai": OrchestAIResource(),
            "step_files": JsonFiles(),
            "wandb_tracking": WandbResource(),
        },
    )


defs = build_definitions(load_project())
