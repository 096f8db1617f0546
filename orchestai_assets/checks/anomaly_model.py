"""Whether the watch over workers cries wolf."""

from collections.abc import Mapping

import dagster as dg

from orchestai.app.places import anomaly_folder
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.ANOMALY_MODEL,
    name="false_alarms",
    description="On validation calls, all of them well, there are no more alarms than the configuration puts up with.",
)
def anomaly_false_alarms(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read the rate out of the manifest."""
    from orchestai.checkpoint import read_manifest

    project = orchestai.project
    metrics = read_manifest(anomaly_folder(project)).metrics
    return alarms_result(metrics, project.engine.anomaly.false_alarms_per_1000)


def alarms_result(metrics: Mapping[str, float], allowed: float) -> dg.AssetCheckResult:
    """Judge the false alarms in 1,000 calls."""
    observed = metrics["false_alarms_per_1000"]
    return gate_result(
        "false alarms in 1,000 calls",
        passed=observed <= allowed,
        observed=f"{observed:.2f}",
        allowed=f"<= {allowed:g}",
        warns=True,
    )
