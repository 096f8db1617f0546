"""Keys, groups and owners: the only place where they are spelled."""

import dagster as dg

EXECUTION_LOGS = dg.AssetKey("execution_logs")
DATASET_VALIDATION = dg.AssetKey("dataset_validation")
TRAINING_DATA = dg.AssetKey("training_data")
PHASE1_CHECKPOINT = dg.AssetKey("phase1_checkpoint")
PHASE1_REPORT = dg.AssetKey("phase1_report")
EVALUATION_REPORT = dg.AssetKey("evaluation_report")
MODEL_RELEASE = dg.AssetKey("model_release")
PHASE2_CHECKPOINT = dg.AssetKey("phase2_checkpoint")
PHASE2_REPORT = dg.AssetKey("phase2_report")

DATA = "data"
PLANNER = "planner"
RELEASE = "release"

FRESH = "fresh"
"""Name of the checks of age: they have a job of their own."""
ANOMALY_MODEL = dg.AssetKey("anomaly_model")

DATA = "data"
PLANNER = "planner"
WORKERS = "workers"
ROUTING_OUTCOMES = dg.AssetKey("routing_outcomes")
WORKER_METRICS = dg.AssetKey("worker_metrics")
FEATURES = dg.AssetKey("features")
ROUTER_CHECKPOINT = dg.AssetKey("router_checkpoint")

DATA = "data"
PLANNER = "planner"
ROUTING = "routing"

OWNERS = ["team:platform"]
"""Owners of every asset; alerts name them."""
