"""Keys, groups and owners: the only place where they are spelled."""

import dagster as dg

EXECUTION_LOGS = dg.AssetKey("execution_logs")
DATASET_VALIDATION = dg.AssetKey("dataset_validation")
TRAINING_DATA = dg.AssetKey("training_data")
PHASE1_CHECKPOINT = dg.AssetKey("phase1_checkpoint")
PHASE1_REPORT = dg.AssetKey("phase1_report")
ROUTING_OUTCOMES = dg.AssetKey("routing_outcomes")
WORKER_METRICS = dg.AssetKey("worker_metrics")
FEATURES = dg.AssetKey("features")
ROUTER_CHECKPOINT = dg.AssetKey("router_checkpoint")

DATA = "data"
PLANNER = "planner"
ROUTING = "routing"

OWNERS = ["team:platform"]
"""Owners of every asset; alerts name them."""
