"""One file an asset; a failed check is a refusal with its gate, what was observed and what is allowed."""

import dagster as dg

from orchestai_assets.checks.anomaly_model import anomaly_false_alarms
from orchestai_assets.checks.dataset_validation import dataset_verdict
from orchestai_assets.checks.execution_logs import execution_logs_expectations, execution_logs_schema
from orchestai_assets.checks.phase1_checkpoint import phase1_loss
from orchestai_assets.checks.phase1_report import phase1_not_worse_than_rules, phase1_valid_dags
from orchestai_assets.checks.phase2_checkpoint import phase2_reward_scale, phase2_valid_actions
from orchestai_assets.checks.phase2_report import phase2_not_worse_than_supervised
from orchestai_assets.checks.routing import (
    features_one_row,
    router_calibrated,
    router_not_worse,
    routing_outcomes_ranges,
    worker_metrics_add_up,
)
from orchestai_assets.checks.training_data import (
    training_data_enough_rows,
    training_data_expectations,
    training_data_no_leakage,
    training_data_valid_dags,
)


def all_checks() -> list[dg.AssetChecksDefinition]:
    """Return all checks, upstream first."""
    return [
        execution_logs_schema,
        execution_logs_expectations,
        dataset_verdict,
        training_data_expectations,
        training_data_enough_rows,
        training_data_valid_dags,
        training_data_no_leakage,
        phase1_loss,
        phase1_valid_dags,
        phase1_not_worse_than_rules,
        phase2_valid_actions,
        phase2_reward_scale,
        phase2_not_worse_than_supervised,
        routing_outcomes_ranges,
        worker_metrics_add_up,
        features_one_row,
        router_calibrated,
        router_not_worse,
        anomaly_false_alarms,
    ]
