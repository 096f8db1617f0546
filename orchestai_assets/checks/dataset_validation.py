"""The gate between executions and everything that is learned from them."""

from collections.abc import Iterator

import dagster as dg

from orchestai.app.json_files import read_json
from orchestai.app.places import validation_file
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_results, gate_specs
from resources.orchestai_resource import OrchestAIResource

VERDICT = "verdict"


@dg.multi_asset_check(
    name="dataset_verdict",
    specs=gate_specs(
        keys.DATASET_VALIDATION, VERDICT, "The dataset is approved; what is learned from it does not run otherwise."
    ),
)
def dataset_verdict(orchestai: OrchestAIResource) -> Iterator[dg.AssetCheckResult]:
    """Read the gates: one of severity `error` refuses the dataset."""
    from orchestai.validation.report import Gate

    report = read_json(validation_file(orchestai.project))
    gates = [Gate.model_validate(gate) for gate in report["gates"]]
    yield from gate_results(keys.DATASET_VALIDATION, VERDICT, gates)
