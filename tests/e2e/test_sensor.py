"""Executions are logged, the sensor sees the segment, its run makes the table; a late file makes it again."""

from collections.abc import Callable

import dagster as dg
import pyarrow.parquet as pq
import pytest

from orchestai.app.places import execution_tables
from orchestai.config import Project
from orchestai_assets.definitions import defs

pytestmark = pytest.mark.e2e


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[dg.RunRequest], str | None]:
    from resources.orchestai_resource import OrchestAIResource

    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, resources={"orchestai": OrchestAIResource()}
    )
    data = defs.get_repository_def().get_sensor_def("new_execution_logs").evaluate_tick(context)
    return list(data.run_requests or []), data.cursor


def execute(instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    result = defs.resolve_job_def(request.job_name or "ingest_and_validate").execute_in_process(
        instance=instance, partition_key=request.partition_key, raise_on_error=False
    )
    assert result.success


def test_logged_executions_end_in_parquet(
    project: Project, instance: dg.DagsterInstance, log_executions: Callable[[int], None], today: str
) -> None:
    log_executions(4)
    (first,), cursor = tick(instance, None)
    execute(instance, first)
    nothing, cursor = tick(instance, cursor)
    log_executions(2)
    (second,), cursor = tick(instance, cursor)
    execute(instance, second)

    assert nothing == []
    assert first.partition_key == second.partition_key == today
    assert first.run_key != second.run_key
    (table,) = execution_tables(project)
    assert pq.read_metadata(table).num_rows == 6
