"""Whether reinforcement learning was worth it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestai.app.json_files import read_json
from orchestai.app.phase2 import REPORT_FILE
from orchestai.app.places import phase2_report_folder
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.PHASE2_REPORT,
    name="not_worse_than_supervised",
    description="On the test split PPO earns at least the reward of the policy of Phase 1.",
)
def phase2_not_worse_than_supervised(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Compare the rewards; a worse policy is a warning, because both are valid."""
    return reward_result(read_json(phase2_report_folder(orchestai.project) / REPORT_FILE)["methods"])


def reward_result(methods: Mapping[str, Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Judge PPO against the supervised argmax."""
    learned, supervised = methods["ppo"]["reward"], methods["supervised_argmax"]["reward"]
    return gate_result(
        "reward on the test split",
        passed=learned >= supervised,
        observed=f"{learned:.3f}",
        allowed=f">= {supervised:.3f}, that of Phase 1",
        warns=True,
    )
