"""Sub-tasks as routing sees them."""

import dagster as dg

from orchestai.app.places import routing_folder
from orchestai_assets import keys
from orchestai_assets.io import column_schema, file_hash, sample
from resources.orchestai_resource import OrchestAIResource

SHOWN = ("query_id", "task_type", "chars", "words", "subtasks", "parents", "outcomes", "workers")


@dg.asset(
    key=keys.FEATURES,
    deps=[keys.ROUTING_OUTCOMES],
    description="The form of each sub-task's text, its place in the plan, and how often it was tried.",
    group_name=keys.ROUTING,
    kinds={"parquet"},
    owners=keys.OWNERS,
    code_version="1",
)
def features(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Describe the sub-tasks."""
    from orchestai.routing.logged import features_of, read_routing_table, write_routing_table
    from orchestai.routing.outcomes import FEATURES_ASSET, OUTCOMES_ASSET

    folder = routing_folder(orchestai.project)
    table = features_of(read_routing_table(folder, OUTCOMES_ASSET))
    path = write_routing_table(table, folder, FEATURES_ASSET)
    return dg.MaterializeResult(
        metadata={
            "rows": table.num_rows,
            "path": dg.MetadataValue.path(path),
            "sample": sample(table, SHOWN),
            "dagster/row_count": table.num_rows,
            "dagster/column_schema": column_schema(table.schema),
        },
        data_version=dg.DataVersion(file_hash(path)),
    )
