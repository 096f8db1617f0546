"""What each worker is worth at each kind of sub-task."""

import dagster as dg

from orchestai.app.places import routing_folder
from orchestai_assets import keys
from orchestai_assets.io import column_schema, file_hash, picture, records
from orchestai_assets.plots import success_by_worker
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.WORKER_METRICS,
    deps=[keys.ROUTING_OUTCOMES],
    description="Calls, success, cost, p50 and p95 time and tokens of each worker in each task type; `*` is all types.",
    group_name=keys.ROUTING,
    kinds={"parquet"},
    owners=keys.OWNERS,
    code_version="1",
)
def worker_metrics(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Summarise the outcomes."""
    from orchestai.routing.logged import ALL_TYPES, metrics_of, read_routing_table, write_routing_table
    from orchestai.routing.outcomes import METRICS_ASSET, OUTCOMES_ASSET

    folder = routing_folder(orchestai.project)
    table = metrics_of(read_routing_table(folder, OUTCOMES_ASSET))
    path = write_routing_table(table, folder, METRICS_ASSET)
    overall = [row for row in table.to_pylist() if row["task_type"] == ALL_TYPES]
    rates = {row["worker"]: row["success_rate"] for row in overall if row["success_rate"] is not None}
    return dg.MaterializeResult(
        metadata={
            "workers": len(overall),
            "rows": table.num_rows,
            "overall": records(overall),
            "path": dg.MetadataValue.path(path),
            "dagster/row_count": table.num_rows,
            "dagster/column_schema": column_schema(table.schema),
            **({"success": picture(success_by_worker(rates), "success by worker")} if rates else {}),
        },
        data_version=dg.DataVersion(file_hash(path)),
    )
