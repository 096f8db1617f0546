"""Whether training did its work."""

import math
from collections.abc import Sequence

import dagster as dg

from orchestai.app.places import phase1_folder
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.PHASE1_CHECKPOINT,
    name="loss",
    blocking=True,
    description="The training loss is finite in every epoch, and below that of the first epoch at the end.",
)
def phase1_loss(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Read the losses out of the checkpoint's manifest."""
    from orchestai.checkpoint import read_manifest

    history = read_manifest(phase1_folder(orchestai.project)).history
    return loss_result([float(row["train_loss"]) for row in history])


def loss_result(losses: Sequence[float]) -> dg.AssetCheckResult:
    """Judge the training losses by epoch."""
    finite = all(math.isfinite(loss) for loss in losses)
    falls = len(losses) < 2 or losses[-1] < losses[0]
    shown = f"{losses[0]:.4f} to {losses[-1]:.4f} in {len(losses)} epochs" if losses else "no epoch"
    return gate_result(
        "training loss",
        passed=bool(losses) and finite and falls,
        observed=shown,
        allowed="finite, and lower at the end than at first",
    )
