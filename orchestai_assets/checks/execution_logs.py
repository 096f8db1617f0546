"""Checks of a day of execution logs."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg

from orchestai.app.places import execution_tables, executions_folder, related_values
from orchestai.config import Project
from orchestai.logs import table_path
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_results, gate_specs
from orchestai_assets.io import read_table
from resources.orchestai_resource import OrchestAIResource


@dg.asset_check(
    asset=keys.EXECUTION_LOGS,
    name="schema",
    blocking=True,
    description="The table has the columns and types that this release writes.",
)
def execution_logs_schema(context: dg.AssetCheckExecutionContext, orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Compare the columns of the day's table with what the library writes."""
    from orchestai.logs.columns import execution_schema

    found = read_table(_tables(context, orchestai.project)).schema
    wanted = execution_schema()
    wrong = [
        f"{field.name}: {found.field(field.name).type}" if field.name in found.names else f"{field.name}: missing"
        for field in wanted
        if field.name not in found.names or found.field(field.name).type != field.type
    ]
    return dg.AssetCheckResult(
        passed=not wrong,
        description="Columns differ from the schema." if wrong else "All columns are as they should be.",
        metadata={
            "gate": "columns",
            "observed": "; ".join(wrong) or f"{len(found.names)} columns",
            "allowed": f"the {len(wanted.names)} columns of the execution log",
        },
    )


@dg.multi_asset_check(
    name="execution_logs_expectations",
    specs=gate_specs(
        keys.EXECUTION_LOGS,
        "expectations",
        "The rules of dbt_like_configs/expectations/execution_logs.yml, applied by Great Expectations.",
    ),
)
def execution_logs_expectations(
    context: dg.AssetCheckExecutionContext, orchestai: OrchestAIResource
) -> Iterator[dg.AssetCheckResult]:
    """Apply the declared suite to the day's table."""
    from orchestai.validation.suite import run_suite

    table = read_table(_tables(context, orchestai.project))
    gates, _ = run_suite(
        table, orchestai.project.expectations["execution_logs"], related=related_values(orchestai.project)
    )
    yield from gate_results(keys.EXECUTION_LOGS, "expectations", gates)


def _tables(context: dg.AssetCheckExecutionContext, project: Project) -> list[Path]:
    """Return the tables of the run's days; a check that is run alone, without a day, looks at all of them."""
    run = context.op_execution_context
    if run.has_partition_key or run.has_partition_key_range:
        return [table_path(executions_folder(project), date.fromisoformat(day)) for day in run.partition_keys]
    return execution_tables(project)
