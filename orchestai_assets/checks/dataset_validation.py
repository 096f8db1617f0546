"""The gate between executions and everything that is learned from them."""

import dagster as dg

from orchestai_assets import keys
from orchestai_assets.checks.gates import gates_result
from orchestai_assets.io import read_json, validation_file
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.DATASET_VALIDATION,
    name="verdict",
    blocking=True,
    description="The dataset is approved; what is learned from it does not run otherwise.",
)
def dataset_verdict(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read the gates: one of severity `error` refuses the dataset, one of `warn` is only shown."""
    from orchestai.validation.report import Gate

    report = read_json(validation_file(orchestai.project))
    return gates_result([Gate.model_validate(gate) for gate in report["gates"]])
