"""Whether the trained planner may be used, and whether it is worth it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestai.app.json_files import read_json
from orchestai.app.places import report_folder
from orchestai.app.report import REPORT_FILE
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.PHASE1_REPORT,
    name="valid_dags",
    blocking=True,
    description="Every predicted plan is a valid DAG of known task types, on every split.",
)
def phase1_valid_dags(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read the DAG validity of each split."""
    return validity_result(read_json(report_folder(orchestai.project) / REPORT_FILE)["splits"])


@dg.asset_check(
    asset=keys.PHASE1_REPORT,
    name="not_worse_than_rules",
    description="The learned planner finds at least as many sub-tasks of the test split as the rules do.",
)
def phase1_not_worse_than_rules(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Compare node F1 with the rules; a worse planner is a warning, because its confidence keeps it in check."""
    return comparison_result(read_json(report_folder(orchestai.project) / REPORT_FILE)["planners"])


def validity_result(splits: Mapping[str, Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Judge the share of valid plans."""
    invalid = {name: row["dag_validity"] for name, row in splits.items() if row["dag_validity"] < 100}
    return gate_result(
        "DAG validity",
        passed=not invalid,
        observed=", ".join(f"{name} {value:.2f} %" for name, value in invalid.items()) or "100 %",
        allowed="100 % on every split",
    )


def comparison_result(planners: Mapping[str, Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Judge the learned planner against the rules."""
    learned, rules = planners["learned"]["node_f1"], planners["rules"]["node_f1"]
    return gate_result(
        "node F1 on the test split",
        passed=learned >= rules,
        observed=f"{learned:.1f} %",
        allowed=f">= {rules:.1f} %, that of the rules",
        warns=True,
    )
