"""Looks whether the executions since the last training differ from those before it."""

import dagster as dg

from orchestai.app.alerts import Alert, send_alert
from orchestai.app.drift import DriftReport, measure_drift, read_drift
from orchestai.app.places import execution_tables
from orchestai.app.retraining import tables_facts
from orchestai.config import AutomationConfig
from orchestai_assets import keys
from orchestai_assets.io import records
from resources.orchestai_resource import OrchestAIResource
from sensors.facts import last


def drift_sensor(config: AutomationConfig) -> dg.SensorDefinition:
    """Return the sensor."""

    @dg.sensor(
        name="drift",
        # It starts nothing itself; `retrain_on_new_data` reads its report.
        asset_selection=dg.AssetSelection.assets(keys.DATASET_VALIDATION),
        minimum_interval_seconds=config.sensors.drift_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares inputs, calibration and success since the last training with those before it.",
    )
    def drift(context: dg.SensorEvaluationContext, orchestai: OrchestAIResource) -> dg.SensorResult:
        project = orchestai.project
        trained = last(context.instance, keys.PHASE1_CHECKPOINT)
        if trained is None:
            return dg.SensorResult(skip_reason="Nothing has been trained yet.", cursor=context.cursor)
        facts = f"{trained.at.isoformat()} {tables_facts(execution_tables(project))}"
        if facts == context.cursor:
            return dg.SensorResult(skip_reason="No new executions since the last look.", cursor=facts)
        before = read_drift(project)
        report = measure_drift(project, trained.at)
        if report.alarms and (before is None or before.id != report.id):
            text = f"Since the training of {trained.at:%Y-%m-%d %H:%M}: {report.why}."
            alert = Alert(kind="drift", severity="warning", text=text, facts={"alarms": list(report.alarms)})
            send_alert(alert, project.automation.alerts)
        return dg.SensorResult(
            skip_reason=report.why,
            cursor=facts,
            asset_events=[dg.AssetObservation(keys.DATASET_VALIDATION, metadata=observed(report))],
        )

    return drift


def observed(report: DriftReport) -> dict[str, dg.MetadataValue]:
    """Return a report on drift as metadata of an observation."""
    found: dict[str, dg.MetadataValue] = {
        "drift": dg.MetadataValue.text(report.why),
        "executions_before": dg.MetadataValue.int(report.reference),
        "executions_since": dg.MetadataValue.int(report.current),
        "dated_in_the_future": dg.MetadataValue.int(report.ahead),
    }
    if report.features:
        found["features"] = records(feature.model_dump() for feature in report.features)
    if report.success is not None:
        found["success_before"] = dg.MetadataValue.float(report.success.before)
        found["success_since"] = dg.MetadataValue.float(report.success.after)
        found["success_e_value"] = dg.MetadataValue.float(report.success.e_value)
    if report.calibration is not None:
        found["calibration_change"] = dg.MetadataValue.float(report.calibration.change)
    return found
