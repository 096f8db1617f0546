"""What the reinforced policy is worth."""

from typing import Any

import dagster as dg

from orchestai.app.phase2 import REPORT_FILE, curves_picture, report_of
from orchestai.app.places import phase2_folder, phase2_report_folder
from orchestai_assets import keys
from orchestai_assets.io import file_hash, picture, records
from orchestai_assets.plots import pareto_picture
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.PHASE2_REPORT,
    deps=[keys.PHASE2_CHECKPOINT],
    description="Reward, success, dollars and time of PPO beside Phase 1, fixed rules and an oracle; simulated.",
    group_name=keys.PLANNER,
    kinds={"json"},
    owners=keys.OWNERS,
    code_version="1",
)
def phase2_report(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Write down what the checkpoint says of its training, and show it."""
    project = orchestai.project
    report = report_of(project, phase2_folder(project))
    path = phase2_report_folder(project) / REPORT_FILE
    methods = report["methods"]
    return dg.MaterializeResult(
        metadata={
            "methods": records({"method": name, **row} for name, row in methods.items()),
            "reward_ppo": methods["ppo"]["reward"],
            "reward_supervised": methods["supervised_argmax"]["reward"],
            "environment": report["environment"],
            "simulated": report["simulated"],
            "reward_weights": records([report["rewards"]]),
            "reward_scale": records([report["reward_scale"]]),
            "path": dg.MetadataValue.path(path),
            **_pareto(report["pareto"]),
            "reward": picture(curves_picture(report["history"], report["best_update"]), "reward by round"),
        },
        data_version=dg.DataVersion(file_hash(path)),
    )


def _pareto(pareto: dict[str, Any] | None) -> dict[str, dg.MetadataValue]:
    """Show the front; a checkpoint of before it was measured has none."""
    if not pareto or not pareto["front"]:
        return {}
    return {
        "pareto_front": records(pareto["front"]),
        "pareto": picture(pareto_picture(pareto), "cost and success on held-out workflows, by the exact optimizer"),
    }
