"""Jobs that materialise assets."""

from typing import Any

import dagster as dg

from jobs.keys import INGEST_AND_VALIDATE, TRAIN_PLANNER, TRAIN_ROUTER
from orchestai.config import Project
from orchestai_assets import keys
from resources.executors import executor_for

UnresolvedJob = Any  # Dagster keeps the type of what `define_asset_job` returns to itself.


def ingest_and_validate_job(project: Project) -> UnresolvedJob:
    """Return the job that ingests one day and validates all days."""
    return dg.define_asset_job(
        INGEST_AND_VALIDATE,
        selection=dg.AssetSelection.assets(keys.EXECUTION_LOGS, keys.DATASET_VALIDATION),
        executor_def=executor_for(project.dagster),
        description="Ingests the closed log segments of a day and validates all days so far.",
    )


def train_planner_job(project: Project) -> UnresolvedJob:
    """Return the job that validates, prepares, trains and reports; a refused dataset stops it before training."""
    return dg.define_asset_job(
        TRAIN_PLANNER,
        selection=dg.AssetSelection.assets(
            keys.DATASET_VALIDATION, keys.TRAINING_DATA, keys.PHASE1_CHECKPOINT, keys.PHASE1_REPORT
        ),
        executor_def=executor_for(project.dagster, cuda=project.training.phase1.device != "cpu"),
        description="Validates all execution logs, prepares training data, trains Phase 1 and reports on it.",
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
