"""Whether the executions of all days are fit to train on."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from orchestai.app.places import validation_file
from orchestai.app.retraining import ingested_executions, learned_tables
from orchestai_assets import keys
from orchestai_assets.io import file_hash, picture, read_table, records
from orchestai_assets.plots import balance
from orchestai_assets.verdicts import dimension_records, verdict_plot
from resources.orchestai_resource import OrchestAIResource

if TYPE_CHECKING:
    from orchestai.app.log_windows import Window


class DatasetValidationConfig(dg.Config):
    """How this one validation is meant."""

    accept_windows: bool = Field(
        default=False,
        description="A person overrules the six-stage gate: the new executions are right, and later ones should be "
        "like them. The declared suite is not overruled.",
    )


@dg.asset(
    key=keys.DATASET_VALIDATION,
    deps=[dg.AssetDep(keys.EXECUTION_LOGS, partition_mapping=dg.AllPartitionMapping())],
    description="The verdict on the newest executions: the declared suite, and the six-stage gate on what is new "
    "since the last approved window. A refusal is a result: see the check `verdict`.",
    group_name=keys.DATA,
    kinds={"json", "greatexpectations"},
    owners=keys.OWNERS,
    code_version="2",
)
def dataset_validation(orchestai: OrchestAIResource, config: DatasetValidationConfig) -> dg.MaterializeResult[None]:
    """Validate the tables that would be learned from; an approved window is what the next one is compared with."""
    from orchestai.app.log_windows import validate_executions

    project = orchestai.project
    tables = learned_tables(project)
    ingested = ingested_executions(project)
    table = read_table(tables)
    report, windows = validate_executions(project, table, accept=config.accept_windows)
    path = validation_file(project)
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
            **_windows(windows),
            **({"balance": picture(balance(types, title="Sub-tasks by type"), "sub-tasks by type")} if types else {}),
        },
        data_version=dg.DataVersion(file_hash(*tables)),
    )


def _windows(windows: "list[Window]") -> dict[str, Any]:
    """Return what the UI shows of the six stages: a row a source, and the dimensions of the block that decides."""
    shown: dict[str, Any] = {
        "windows": records(
            {
                "source": window.report.source,
                "new_executions": window.report.rows,
                "state": window.report.state,
                "verdict": window.report.verdict,
                "blocks": len(window.report.blocks),
                "collapse_score": worst.result.collapse_score if worst is not None else None,
                "diversity_score": worst.result.diversity_score if worst is not None else None,
                "reason": worst.result.reason if worst is not None else "too few to judge",
            }
            for window in windows
            for worst in (window.report.worst,)
        )
    }
    for window in windows:
        if (worst := window.report.worst) is None:
            continue
        name = window.report.source
        shown[f"dimensions_{name}"] = dimension_records(worst.result)
        shown[f"scores_{name}"] = picture(verdict_plot(worst.result), f"dimensions of {name}")
        if window.page is not None:
            shown[f"page_{name}"] = dg.MetadataValue.path(window.page)
    return shown
