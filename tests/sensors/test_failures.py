"""A failed run is alerted; a refusal is told apart from a crash."""

import logging
from collections.abc import Callable

import dagster as dg
import pytest

from orchestai.app.alerts import ALERTS
from resources.orchestai_resource import OrchestAIResource
from sensors.failures import alert_on_failure

Job = dg.JobDefinition


def crashing() -> Job:
    @dg.op
    def crash() -> None:
        raise ValueError("the disk is on fire")

    @dg.job
    def crashing_job() -> None:
        crash()

    return crashing_job


def refusing() -> Job:
    @dg.asset
    def table() -> None:
        return None

    @dg.asset_check(asset=table, blocking=True)
    def gate() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    @dg.asset_check(asset=table)
    def only_a_warning() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    defs = dg.Definitions(
        assets=[table], asset_checks=[gate, only_a_warning], jobs=[dg.define_asset_job("refusing_job")]
    )
    return defs.resolve_job_def("refusing_job")


@pytest.mark.parametrize(
    ("make", "level", "refused", "says"),
    [
        (crashing, logging.ERROR, [], "crashing_job failed"),
        (refusing, logging.WARNING, ["table:gate"], "refused by table:gate"),
    ],
)
def test_a_failed_run_is_alerted(
    make: Callable[[], Job],
    level: int,
    refused: list[str],
    says: str,
    instance: dg.DagsterInstance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = make().execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_on_failure",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()

    with caplog.at_level(logging.INFO, logger=ALERTS.name):
        alert_on_failure(context, orchestai=OrchestAIResource())

    (alert,) = [record for record in caplog.records if record.name == ALERTS.name]
    assert alert.levelno == level
    assert alert.refused == refused  # type: ignore[attr-defined]
    assert says in alert.getMessage()
