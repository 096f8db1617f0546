"""The newest checkpoints as a version: judged by the gates, and on their way if all are met."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from orchestai_assets import keys
from orchestai_assets.io import records
from resources.orchestai_resource import OrchestAIResource

if TYPE_CHECKING:
    from orchestai.app.promotion import CandidateReport

GATES = {
    "quality": "Quality of the plans on held-out rows, paired with the champion.",
    "families": "No family of tasks gets worse.",
    "off_policy": "Success that the logs predict, where they can.",
    "calibration": "Confidence means what it says.",
    "latency": "Time of planning.",
    "cost": "Expected price of the planned work.",
    "dag_validity": "Every plan can be run.",
}
"""The gates, as `orchestai.registry.gates.GATES` has them, with what they ask."""


@dg.asset(
    key=keys.MODEL_RELEASE,
    # A run that trains Phase 2 too releases it: without its Phase 1, which the next training replaces, it is not used.
    deps=[keys.PHASE1_CHECKPOINT, keys.PHASE1_REPORT, keys.PHASE2_CHECKPOINT, keys.EVALUATION_REPORT],
    check_specs=[
        dg.AssetCheckSpec(name, asset=keys.MODEL_RELEASE, description=description)
        for name, description in GATES.items()
    ],
    description="Registers what was trained, judges it by promotion/*.yml, and lets it take over share by share. "
    "A refusal is a result: see the checks.",
    group_name=keys.RELEASE,
    kinds={"mlflow"},
    owners=keys.OWNERS,
    code_version="1",
)
# Dagster takes the type argument for a second output beside the checks.
def model_release(orchestai: OrchestAIResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Register, judge, and begin the release."""
    from orchestai.app.promotion import release_candidate, release_report

    project = orchestai.project
    report = release_candidate(project)
    version = report.version
    gates = report.gates.results if report.gates is not None else ()
    return dg.MaterializeResult(
        metadata={
            "version": version.version,
            "action": report.action,
            "why": report.why,
            "baseline": report.baseline,
            "gates": records(gate.model_dump() for gate in gates),
            "lineage": records(
                {"part": name, "content": digest[:12], "data": version.data_hash.get(name, "")[:12]}
                for name, digest in version.parts.items()
            ),
            "path": dg.MetadataValue.path(release_report(project)),
        },
        check_results=list(gate_checks(report)),
        data_version=dg.DataVersion(version.digest),
    )


def gate_checks(report: "CandidateReport") -> Iterator[dg.AssetCheckResult]:
    """Return one check a gate, with what was observed and what is allowed."""
    found = {gate.gate: gate for gate in report.gates.results} if report.gates is not None else {}
    idle = "switched off, or not judged for want of rows" if found else report.why
    for name in GATES:
        gate = found.get(name)
        yield dg.AssetCheckResult(
            asset_key=keys.MODEL_RELEASE,
            check_name=name,
            passed=gate is None or gate.passed,
            description=None if gate is not None else idle,
            metadata={
                "gate": name,
                "observed": gate.observed if gate is not None else "not judged",
                "allowed": gate.allowed if gate is not None else "not judged",
                "why": gate.why if gate is not None else idle,
            },
        )
