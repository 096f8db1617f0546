"""How each worker behaves while all is well."""

import dagster as dg

from orchestai_assets import keys
from orchestai_assets.io import picture, records
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.ANOMALY_MODEL,
    deps=[dg.AssetDep(keys.EXECUTION_LOGS, partition_mapping=dg.AllPartitionMapping())],
    description="Autoencoder of worker behaviour and its threshold; a worker unlike itself leaves routing.",
    group_name=keys.WORKERS,
    kinds={"pytorch", "safetensors"},
    owners=keys.OWNERS,
    code_version="1",
)
def anomaly_model(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Train on the execution log."""
    from orchestai.app.anomaly import train_anomaly_on
    from orchestai.evaluation.plots import loss_curves, score_plot

    result = train_anomaly_on(orchestai.project)
    trained, detector = result.trained, result.trained.model.detector
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(result.checkpoint),
            "score": detector.method,
            "threshold": detector.threshold,
            "false_alarms_per_1000": trained.model.metrics["false_alarms_per_1000"],
            "calls": records({"worker": name, "calls": calls} for name, calls in trained.calls.items()),
            "too_few_calls": records({"worker": name, "calls": calls} for name, calls in trained.too_few.items()),
            "metrics": records({"metric": name, "value": value} for name, value in trained.model.metrics.items()),
            "loss": picture(loss_curves(trained.history, title="Autoencoder: error by epoch"), "error by epoch"),
            "scores": picture(score_plot(trained.scores.tolist(), detector.threshold), "scores of validation calls"),
        },
        data_version=dg.DataVersion(result.data_hash),
    )
