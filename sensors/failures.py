"""Speaks up when a run fails."""

import dagster as dg

from orchestai.app.alerts import Alert, send_alert
from resources.orchestai_resource import OrchestAIResource


@dg.run_failure_sensor(
    name="alert_on_failure",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Alerts of every failed run: a refusal of data as a warning, anything else as an error.",
)
def alert_on_failure(context: dg.RunFailureSensorContext, orchestai: OrchestAIResource) -> None:
    """Alert of a failed run, and say whether a blocking check refused data or something broke."""
    run = context.dagster_run
    refusals = refused_checks(context)
    steps = [event.step_key for event in context.get_step_failure_events()]
    if refusals:
        kind, text = "data_refused", f"Run {run.run_id} of {run.job_name}: refused by {', '.join(refusals)}"
    else:
        kind, text = "run_failed", f"Run {run.run_id} of {run.job_name} failed: {context.failure_event.message}"
    facts = {"job": run.job_name, "run_id": run.run_id, "steps": steps, "refused": refusals}
    alert = Alert(kind=kind, severity="warning" if refusals else "error", text=text, facts=facts)
    send_alert(alert, orchestai.project.automation.alerts)
    context.log.info(f"Alerted: {facts}")


def refused_checks(context: dg.RunFailureSensorContext) -> list[str]:
    """Return the blocking checks that failed; empty if the run failed for another reason."""
    failed = context.instance.all_logs(context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = []
    for entry in failed:
        event = entry.dagster_event
        if event is None:
            continue
        evaluation = event.asset_check_evaluation_data
        if evaluation.blocking and not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
            found.append(f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}")
    return found
