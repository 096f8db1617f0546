"""The planner with a policy that learned from rewards."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestai.app.phase2 import curves_picture, train_phase2
from orchestai.app.places import phase2_folder
from orchestai.app.recorded import curves_file
from orchestai.config import DagsterConfig
from orchestai_assets import keys
from orchestai_assets.io import picture, records
from resources.orchestai_resource import OrchestAIResource
from resources.wandb_resource import WandbResource

if TYPE_CHECKING:
    from orchestai.training.phase2 import Phase2Result


def phase2_checkpoint_asset(config: DagsterConfig) -> dg.AssetsDefinition:
    """Return the asset; it trains on a CPU, for its network is small."""

    @dg.asset(
        key=keys.PHASE2_CHECKPOINT,
        deps=[keys.PHASE1_CHECKPOINT, keys.TRAINING_DATA],
        description="Phase 2: the Phase 1 planner, its policy trained by PPO on simulated workers.",
        group_name=keys.PLANNER,
        kinds={"pytorch", "safetensors"},
        owners=keys.OWNERS,
        code_version="1",
        pool=config.steps["cpu"].pool,
    )
    def phase2_checkpoint(
        context: dg.AssetExecutionContext, orchestai: OrchestAIResource, wandb_tracking: WandbResource
    ) -> dg.MaterializeResult[None]:
        from orchestai.checkpoint import read_manifest

        project = orchestai.project
        settings = project.training.phase2.model_dump()
        with wandb_tracking.tracker(project, name="phase2", run_id=context.run.run_id, settings=settings) as tracker:
            result = train_phase2(project, out=phase2_folder(project), tracker=tracker)
        return dg.MaterializeResult(
            metadata=_facts(result), data_version=dg.DataVersion(read_manifest(result.checkpoint).digest[:16])
        )

    return phase2_checkpoint


def _facts(result: "Phase2Result") -> dict[str, Any]:
    return {
        "path": dg.MetadataValue.path(result.checkpoint),
        "curves": dg.MetadataValue.path(curves_file(result.checkpoint)),
        "rounds": len(result.history) - 1,
        "best_round": result.best_update,
        "seconds": result.seconds,
        "warning": result.warning or "none",
        "methods": records({"method": name, **row} for name, row in result.methods.items()),
        "reward": picture(curves_picture(result.history, result.best_update), "reward by round"),
    }
