"""The planner, trained with supervision on the prepared data."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestai.app.learning import read_examples
from orchestai.app.places import phase1_folder, training_folder
from orchestai.app.recorded import curves, curves_file, train_recorded
from orchestai.config import Project
from orchestai_assets import keys
from orchestai_assets.io import picture, records
from resources.kubernetes import step_tags
from resources.orchestai_resource import OrchestAIResource
from resources.retries import retry_policy
from resources.wandb_resource import WandbResource

if TYPE_CHECKING:
    from orchestai.training.phase1 import TrainResult


def phase1_checkpoint_asset(project: Project) -> dg.AssetsDefinition:
    """Return the asset; it trains in the pool and with the resources of a GPU step."""
    config = project.dagster

    @dg.asset(
        key=keys.PHASE1_CHECKPOINT,
        deps=[keys.TRAINING_DATA],
        description="Phase 1: the planner's best checkpoint by validation loss.",
        group_name=keys.PLANNER,
        kinds={"pytorch", "safetensors"},
        owners=keys.OWNERS,
        code_version="1",
        pool=config.steps["gpu"].pool,
        op_tags=step_tags(config, "gpu"),
        # What a killed or failed training left is gone on from.
        retry_policy=retry_policy(project.automation.retries),
    )
    def phase1_checkpoint(
        context: dg.AssetExecutionContext, orchestai: OrchestAIResource, wandb_tracking: WandbResource
    ) -> dg.MaterializeResult[None]:
        from orchestai.checkpoint import read_manifest

        project = orchestai.project
        phase1 = project.training.phase1
        examples, tasks, workers = read_examples(project, training_folder(project))
        settings = phase1.model_dump()
        with wandb_tracking.tracker(project, name="phase1", run_id=context.run.run_id, settings=settings) as tracker:
            result = train_recorded(
                project,
                examples,
                tasks=tasks,
                workers=workers,
                out=phase1_folder(project),
                tracker=tracker,
            )
        tracked = wandb_tracking.tracked_path(project, context.run.run_id)
        return dg.MaterializeResult(
            metadata={
                **_facts(result),
                "examples": len(examples),
                "ingested_executions": _ingested(context),
                "wandb": dg.MetadataValue.path(tracked) if tracked else "not tracked",
            },
            data_version=dg.DataVersion(read_manifest(result.checkpoint).data_hash),
        )

    return phase1_checkpoint


def _ingested(context: dg.AssetExecutionContext) -> int:
    """Return how many executions there were when the training data were prepared; sensors count from there."""
    event = context.instance.get_latest_materialization_event(keys.TRAINING_DATA)
    found = event.asset_materialization if event is not None else None
    value = found.metadata.get("ingested_executions") if found is not None else None
    return int(value.value) if isinstance(value, dg.IntMetadataValue) and value.value is not None else 0


def _facts(result: "TrainResult") -> dict[str, Any]:
    from orchestai.evaluation.plots import loss_curves

    losses = curves(result.history)
    return {
        "path": dg.MetadataValue.path(result.checkpoint),
        "curves": dg.MetadataValue.path(curves_file(result.checkpoint)),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "loss_first": losses["training"][0],
        "loss_last": losses["training"][-1],
        "metrics": records({"metric": name, "value": value} for name, value in result.metrics.items()),
        "loss": picture(loss_curves(losses, best_epoch=result.best_epoch), "loss by epoch"),
    }
