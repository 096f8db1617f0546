"""Keys, groups and owners: the only place where they are spelled."""

import dagster as dg

EXECUTION_LOGS = dg.AssetKey("execution_logs")
DATASET_VALIDATION = dg.AssetKey("dataset_validation")
TRAINING_DATA = dg.AssetKey("training_data")
PHASE1_CHECKPOINT = dg.AssetKey("phase1_checkpoint")
PHASE1_REPORT = dg.AssetKey("phase1_report")
EVALUATION_REPORT = dg.AssetKey("evaluation_report")
MODEL_RELEASE = dg.AssetKey("model_release")

DATA = "data"
PLANNER = "planner"
RELEASE = "release"

FRESH = "fresh"
"""Name of the checks of age: they have a job of their own."""

OWNERS = ["team:platform"]
"""Owners of every asset; alerts name them."""
