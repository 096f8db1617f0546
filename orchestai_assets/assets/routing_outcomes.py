"""Who was asked what, and what became of it: one row a sub-task and worker."""

import dagster as dg

from orchestai.app.places import execution_tables, routing_folder
from orchestai_assets import keys
from orchestai_assets.io import column_schema, file_hash, sample
from resources.orchestai_resource import OrchestAIResource

SHOWN = ("text", "task_type", "worker", "completed", "score", "cost_usd", "latency_ms", "propensity")


@dg.asset(
    key=keys.ROUTING_OUTCOMES,
    deps=[keys.DATASET_VALIDATION],
    description="Outcomes of sub-tasks by worker, with scores and propensities, of executions that passed validation.",
    group_name=keys.ROUTING,
    kinds={"parquet"},
    owners=keys.OWNERS,
    code_version="1",
)
def routing_outcomes(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Read the outcomes of all days."""
    from orchestai.routing.logged import outcomes_of, write_routing_table
    from orchestai.routing.outcomes import OUTCOMES_ASSET

    project = orchestai.project
    table = outcomes_of(execution_tables(project))
    path = write_routing_table(table, routing_folder(project), OUTCOMES_ASSET)
    return dg.MaterializeResult(
        metadata={
            "rows": table.num_rows,
            "scored": table.num_rows - table["score"].null_count,
            "drawn_at_random": sum(0 < value < 1 for value in table["propensity"].to_pylist() if value is not None),
            "subtasks": len(set(table["query_id"].to_pylist())),
            "workers": len(set(table["worker"].to_pylist())),
            "path": dg.MetadataValue.path(path),
            "sample": sample(table, SHOWN),
            "dagster/row_count": table.num_rows,
            "dagster/column_schema": column_schema(table.schema),
        },
        data_version=dg.DataVersion(file_hash(path)),
    )
