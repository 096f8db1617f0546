"""Whether the reinforced policy may be used, and whether it was rewarded for the right thing."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestai.app.places import phase2_folder
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.PHASE2_CHECKPOINT,
    name="valid_actions",
    blocking=True,
    description="On the test split the policy chose no worker that may not do the sub-task.",
)
def phase2_valid_actions(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read the share of invalid choices."""
    from orchestai.checkpoint import read_manifest

    return actions_result(read_manifest(phase2_folder(orchestai.project)).metrics["ppo_invalid"])


@dg.asset_check(
    asset=keys.PHASE2_CHECKPOINT,
    name="reward_scale",
    description="With these reward weights success moves the reward more than cost and latency do.",
)
def phase2_reward_scale(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read how far each term moves; drowned success is a warning, for somebody may want speed above all."""
    from orchestai.checkpoint import read_manifest

    return scale_result(read_manifest(phase2_folder(orchestai.project)).notes["reward_scale"])


def actions_result(invalid: float) -> dg.AssetCheckResult:
    """Judge the share of invalid choices."""
    return gate_result("invalid choices", passed=invalid == 0, observed=f"{invalid:.2%}", allowed="0 %")


def scale_result(scale: Mapping[str, Any]) -> dg.AssetCheckResult:
    """Judge the weights."""
    return gate_result(
        "reward scale",
        passed=scale["drowned_by"] is None,
        observed=", ".join(f"{name} {scale[name]:.3g}" for name in ("success", "cost", "latency")),
        allowed="success moves most",
        warns=True,
    )
