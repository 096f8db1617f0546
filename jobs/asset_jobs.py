"""Jobs that materialise assets."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from jobs.keys import CHECK_FRESHNESS, INGEST_AND_VALIDATE, TRAIN_EVERYTHING, TRAIN_PLANNER, TRAIN_POLICY, TRAIN_ROUTER
from orchestai.config import Project
from orchestai_assets import keys
from resources.executors import executor_for

TRAINS = {"orchestai/trains": "true"}
"""Tags of a run that trains: `dagster.yaml` lets one of them run at a time, sensors and schedules count them."""

UnresolvedJob = Any  # Dagster keeps the type of what `define_asset_job` returns to itself.


def ingest_and_validate_job(project: Project) -> UnresolvedJob:
    """Return the job that ingests one day and validates all days."""
    return dg.define_asset_job(
        INGEST_AND_VALIDATE,
        selection=_without_age(dg.AssetSelection.assets(keys.EXECUTION_LOGS, keys.DATASET_VALIDATION)),
        executor_def=executor_for(project.dagster),
        description="Ingests the closed log segments of a day and validates all days so far.",
    )


def train_planner_job(project: Project) -> UnresolvedJob:
    """Return the job that validates, prepares, trains and reports; a refused dataset stops it before training."""
    phase2 = (keys.PHASE2_CHECKPOINT, keys.PHASE2_REPORT) if project.automation.retrain.phase2 else ()
    return dg.define_asset_job(
        TRAIN_PLANNER,
        selection=_without_age(
            dg.AssetSelection.assets(
                keys.DATASET_VALIDATION,
                keys.TRAINING_DATA,
                keys.PHASE1_CHECKPOINT,
                keys.PHASE1_REPORT,
                *phase2,
                keys.EVALUATION_REPORT,
                keys.MODEL_RELEASE,
            )
        ),
        executor_def=executor_for(project.dagster, cuda=project.training.phase1.device != "cpu"),
        tags=TRAINS,
        description="Validates the newest execution logs, trains Phase 1, reports on it and begins its release.",
    )


def train_everything_job(project: Project) -> UnresolvedJob:
    """Return the job that trains whatever learns from executions; a refused dataset stops it before training."""
    return dg.define_asset_job(
        TRAIN_EVERYTHING,
        selection=_without_age(dg.AssetSelection.assets(keys.DATASET_VALIDATION).downstream()),
        executor_def=executor_for(project.dagster, cuda=project.training.phase1.device != "cpu"),
        tags=TRAINS,
        description="Validates the newest execution logs and makes everything anew that rests on them.",
    )


def check_freshness_job(project: Project, checks: Sequence[dg.AssetChecksDefinition]) -> UnresolvedJob:
    """Return the job that looks how old the parts of the loop have become."""
    return dg.define_asset_job(
        CHECK_FRESHNESS,
        selection=dg.AssetSelection.checks(*checks),
        executor_def=executor_for(project.dagster),
        description="Looks how old the parts of the loop have become.",
    )


def _without_age(selection: dg.AssetSelection) -> dg.AssetSelection:
    """Leave out the checks of age: what was made just now is never old."""
    aged = (keys.DATASET_VALIDATION, keys.PHASE1_CHECKPOINT, keys.EVALUATION_REPORT)
    return selection - dg.AssetSelection.checks(*(dg.AssetCheckKey(key, keys.FRESH) for key in aged))


def train_policy_job(project: Project) -> UnresolvedJob:
    """Return the job that lets the planner's policy learn from rewards, and reports on it."""
    return dg.define_asset_job(
        TRAIN_POLICY,
        selection=dg.AssetSelection.assets(keys.PHASE2_CHECKPOINT, keys.PHASE2_REPORT),
        executor_def=executor_for(project.dagster),
        description="Trains Phase 2 from the Phase 1 checkpoint and reports on it.",
    )


def train_router_job(project: Project) -> UnresolvedJob:
    """Return the job that makes the outcome tables and trains the router; a refused dataset stops it before that."""
    return dg.define_asset_job(
        TRAIN_ROUTER,
        selection=dg.AssetSelection.assets(
            keys.DATASET_VALIDATION,
            keys.ROUTING_OUTCOMES,
            keys.WORKER_METRICS,
            keys.FEATURES,
            keys.ROUTER_CHECKPOINT,
        ),
        executor_def=executor_for(project.dagster),
        description="Validates all execution logs, makes the tables of outcomes and trains the router.",
    )
