"""Speaks up when a run fails."""

import logging

import dagster as dg

ALERTS = logging.getLogger("orchestai.alerts")
"""Handlers of this logger carry alerts to wherever an installation wants them."""


@dg.run_failure_sensor(
    name="alert_on_failure",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs every failed run: a refusal of data as a warning, anything else as an error.",
)
def alert_on_failure(context: dg.RunFailureSensorContext) -> None:
    """Log a failed run, and say whether a blocking check refused data or something broke."""
    run = context.dagster_run
    refusals = refused_checks(context)
    steps = [event.step_key for event in context.get_step_failure_events()]
    fields = {"job": run.job_name, "run_id": run.run_id, "steps": steps, "refused": refusals}
    if refusals:
        ALERTS.warning("Run %s of %s: refused by %s", run.run_id, run.job_name, ", ".join(refusals), extra=fields)
    else:
        message = context.failure_event.message
        ALERTS.error("Run %s of %s failed: %s", run.run_id, run.job_name, message, extra=fields)
    context.log.info(f"Alerted: {fields}")


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
