"""Looks at each release that goes on, and takes the step that its executions call for: further, back, or none."""

import dagster as dg

from orchestai.app.alerts import Alert, send_alert
from orchestai.config import AutomationConfig
from orchestai_assets import keys
from resources.orchestai_resource import OrchestAIResource

_TOLD = {"rollback": "error", "promote": "info", "advance": "info", "cancelled": "warning"}


def canary_verdict_sensor(config: AutomationConfig) -> dg.SensorDefinition:
    """Return the sensor."""

    @dg.sensor(
        name="canary_verdict",
        # It starts no run: releasing is a change of the registry, which takes a moment.
        asset_selection=dg.AssetSelection.assets(keys.MODEL_RELEASE),
        minimum_interval_seconds=config.sensors.canary_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Widens the share of a challenger, makes it the champion, or takes it back at once on harm.",
    )
    def canary_verdict(context: dg.SensorEvaluationContext, orchestai: OrchestAIResource) -> dg.SensorResult:
        from orchestai.app.promotion import canary_step
        from orchestai.registry import read_pointer

        project = orchestai.project
        if not project.registry.enabled:
            return dg.SensorResult(skip_reason="`registry.enabled` is false.")
        # Without a pointer file nothing was ever registered, and none is made by looking.
        found = canary_step(project) if read_pointer(project) is not None else []
        for step in found:
            if severity := _TOLD.get(step.action):
                text = f"{step.subject}: {step.action}. {step.why}"
                alert = Alert.model_validate({"kind": f"release_{step.action}", "severity": severity, "text": text})
                send_alert(alert, project.automation.alerts)
        why = "; ".join(f"{step.subject}: {step.action}, {step.why}" for step in found) or "No release goes on."
        return dg.SensorResult(skip_reason=why)

    return canary_verdict
