"""The router, trained on what became of past sub-tasks."""

from collections.abc import Iterator

import dagster as dg

from orchestai.app.places import router_folder
from orchestai_assets import keys
from orchestai_assets.io import picture, records
from orchestai_assets.plots import calibration, price_curve
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.ROUTER_CHECKPOINT,
    deps=[keys.ROUTING_OUTCOMES, keys.FEATURES, keys.TRAINING_DATA],
    description="Who will succeed at what, calibrated, and whether that can be known; plans choose workers by it.",
    group_name=keys.ROUTING,
    kinds={"pytorch", "safetensors"},
    owners=keys.OWNERS,
    code_version="1",
    output_required=False,
)
def router_checkpoint(
    context: dg.AssetExecutionContext, orchestai: OrchestAIResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Train on the own outcomes and the imports of `training/router.yml`; skipped where there are too few."""
    from orchestai.app.routing import router_rows, train_router_on
    from orchestai.checkpoint import read_manifest

    project = orchestai.project
    config = project.training.router
    rows = router_rows(project, config)
    if rows < config.min_rows:
        context.log.warning(
            f"Skipped: {rows} sub-tasks have scored outcomes, and `min_rows` of training/router.yml asks for "
            f"{config.min_rows}. Collect more (`orchestai collect`), or name an import under `imports`."
        )
        return
    result = train_router_on(project, None, out=router_folder(project), config=config, on_step=context.log.info)
    yield dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(result.checkpoint),
            "rows": result.rows,
            "workers": ", ".join(result.workers),
            "metrics": records({"metric": name, "value": value} for name, value in result.metrics.items()),
            "calibration": picture(calibration(result.calibration), "expected and observed success, out of fold"),
            "prices": picture(price_curve(result.curve), "success by price, out of fold"),
        },
        data_version=dg.DataVersion(read_manifest(result.checkpoint).data_hash),
    )
