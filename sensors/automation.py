"""Declarative automation: assets that follow their upstream assets."""

import dagster as dg

from orchestai_assets import keys


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.assets(keys.TRAINING_DATA),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Prepares training data whenever a dataset has passed validation.",
    )
