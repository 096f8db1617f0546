"""All sensors of a project."""

import dagster as dg

from orchestai.config import AutomationConfig
from sensors.automation import automation_sensor
from sensors.canary_verdict import canary_verdict_sensor
from sensors.drift import drift_sensor
from sensors.dropped_files import dropped_files_sensor
from sensors.failures import alert_on_failure
from sensors.new_execution_logs import new_execution_logs_sensor
from sensors.retrain_on_new_data import retrain_on_new_data_sensor


def all_sensors(config: AutomationConfig, days: dg.DailyPartitionsDefinition) -> list[dg.SensorDefinition]:
    """Return all sensors."""
    return [
        new_execution_logs_sensor(days, config.sensors),
        dropped_files_sensor(),
        retrain_on_new_data_sensor(config),
        drift_sensor(config),
        canary_verdict_sensor(config),
        automation_sensor(),
        alert_on_failure,
    ]
