"""What the planner learns from: one row an instruction, as `training_data.json` and Parquet."""

import dagster as dg

from orchestai.app.places import feedback_folder, training_folder
from orchestai.app.retraining import ingested_executions, learned_tables
from orchestai.logs.feedback import labels_of
from orchestai_assets import keys
from orchestai_assets.io import column_schema, file_hash, records, sample
from resources.orchestai_resource import OrchestAIResource

SHOWN = ("id", "instruction", "task_types", "dependencies", "model_selections", "imitation", "split", "planner")


@dg.asset(
    key=keys.TRAINING_DATA,
    deps=[keys.DATASET_VALIDATION],
    description="Instructions with the plan and the workers worth learning, from executions that passed validation.",
    group_name=keys.DATA,
    kinds={"parquet", "json"},
    owners=keys.OWNERS,
    code_version="1",
    # `eager` alone ignores the blocking checks of what is upstream.
    automation_condition=dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed(),
)
def training_data(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Prepare the training data of the newest days."""
    from orchestai.training.prepare import prepare_training_data, write_training_data

    project = orchestai.project
    tables = learned_tables(project)
    ingested = ingested_executions(project)
    labels = labels_of(feedback_folder(project))
    data = prepare_training_data(tables, project.tasks, project.workers, project.training.split, labels=labels)
    paths = write_training_data(data, training_folder(project))
    summary = data.summary
    return dg.MaterializeResult(
        metadata={
            **summary.model_dump(exclude={"unusable", "splits", "planners"}),
            "ingested_executions": ingested,
            "unusable": records({"reason": name, "executions": n} for name, n in summary.unusable.items()),
            "splits": records({"split": name, "rows": n} for name, n in summary.splits.items()),
            "planners": records({"planner": name, "rows": n} for name, n in summary.planners.items()),
            "imitation_share": summary.imitation_rows / summary.rows if summary.rows else 0.0,
            "json": dg.MetadataValue.path(paths.json),
            "path": dg.MetadataValue.path(paths.parquet),
            "sample": sample(data.table, SHOWN),
            "dagster/row_count": summary.rows,
            "dagster/column_schema": column_schema(data.table.schema),
        },
        data_version=dg.DataVersion(file_hash(paths.json, paths.parquet)),
    )
