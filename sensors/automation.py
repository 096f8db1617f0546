"""Declarative automation: assets that follow their upstream assets."""

import dagster as dg

from orchestai_assets import keys


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.assets(keys.TRAINING_DATA, keys.EVALUATION_REPORT),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Prepares training data when a dataset has passed, and reports on a planner that has.",
    )
