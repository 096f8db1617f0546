"""Whether the executions of all days are fit to train on."""

import dagster as dg

from orchestai.app.places import validation_file
from orchestai.app.retraining import ingested_executions, learned_tables
from orchestai_assets import keys
from orchestai_assets.io import file_hash, picture, read_table, records
from orchestai_assets.plots import balance
from resources.orchestai_resource import OrchestAIResource


@dg.asset(
    key=keys.DATASET_VALIDATION,
    deps=[dg.AssetDep(keys.EXECUTION_LOGS, partition_mapping=dg.AllPartitionMapping())],
    description="The verdict on the newest executions, gate by gate. A refusal is a result: see the check `verdict`.",
    group_name=keys.DATA,
    kinds={"json", "greatexpectations"},
    owners=keys.OWNERS,
    code_version="1",
)
def dataset_validation(orchestai: OrchestAIResource) -> dg.MaterializeResult[None]:
    """Validate the tables that would be learned from."""
    from orchestai.validation import validate_table

    project = orchestai.project
    tables = learned_tables(project)
    ingested = ingested_executions(project)
    table = read_table(tables)
    report = validate_table(table, project.expectations["execution_logs"])
    path = validation_file(project)
    report.save(path)
    types = report.balance["task_types"].counts if "task_types" in report.balance else {}
    return dg.MaterializeResult(
        metadata={
            "verdict": report.verdict,
            "rows": report.rows,
            "days": len(tables),
            "ingested_executions": ingested,
            "gates": records(gate.model_dump(mode="json") for gate in report.gates),
            "failed_gates": sum(not gate.passed for gate in report.gates),
            "path": dg.MetadataValue.path(path),
            "dagster/row_count": report.rows,
            **({"balance": picture(balance(types, title="Sub-tasks by type"), "sub-tasks by type")} if types else {}),
        },
        data_version=dg.DataVersion(file_hash(*tables)),
    )
