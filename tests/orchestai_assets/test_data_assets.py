"""Logs become tables; what is unfit is refused with its gate, and nothing downstream runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestai.app.places import execution_tables, training_folder
from orchestai.config import Project
from orchestai.logs import read_segment
from orchestai_assets import keys
from orchestai_assets.definitions import defs

Log = Callable[[int], None]


def run(job: str, instance: dg.DagsterInstance, day: str | None = None) -> dg.ExecuteInProcessResult:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=day, run_config=quiet, raise_on_error=False
    )


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.to_user_string(): {  # type: ignore[union-attr]
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {f"{c.asset_key.to_user_string()}:{c.check_name}": c for c in result.get_asset_check_evaluations()}


def test_a_day_is_ingested_validated_and_described(
    project: Project, instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    log_executions(9)

    result = run("ingest_and_validate", instance, today)

    assert result.success
    found = materialized(result)["execution_logs"]
    assert found["rows"] == found["new_rows"] == found["successes"] == 9
    assert found["simulated_share"] == 1.0
    assert found["quarantined"] == 0
    assert found["segments"] == found["new_segments"] == 1
    assert found["path"] == str(execution_tables(project)[0])
    assert "base64" in found["executions"]
    assert [column.name for column in found["dagster/column_schema"].columns][:2] == ["execution_id", "attempt"]
    assert len(found["sample"].records) == 5
    verdict = materialized(result)["dataset_validation"]
    assert verdict["verdict"] == "approved"
    assert verdict["rows"] == 9
    assert Path(verdict["path"]).exists()
    assert {name: check.passed for name, check in checks(result).items()} == {
        "execution_logs:schema": True,
        "execution_logs:expectations": True,
        "execution_logs:warnings": True,
        "dataset_validation:verdict": True,
        "dataset_validation:warnings": False,  # one worker did everything
    }


def test_ingesting_again_changes_nothing_and_keeps_the_data_version(
    instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    log_executions(3)
    first = run("ingest_and_validate", instance, today)
    second = run("ingest_and_validate", instance, today)

    assert materialized(second)["execution_logs"]["new_rows"] == 0
    versions = [
        event.materialization.tags["dagster/data_version"]
        for result in (first, second)
        for event in result.get_asset_materialization_events()
        if event.asset_key == keys.EXECUTION_LOGS
    ]
    assert len(versions) == 2
    assert versions[0] == versions[1]


def test_bad_lines_are_counted_by_reason(
    project: Project, instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    log_executions(3)
    (segment,) = project.paths.execution_logs.glob("*/*.jsonl")
    with segment.open("ab") as stream:
        stream.write(b"this is no record\n")

    found = materialized(run("ingest_and_validate", instance, today))["execution_logs"]

    assert found["rows"] == 3
    assert found["quarantined"] == 1
    rows = [record.data for record in found["quarantined_by_reason"].records]
    assert rows == [{"reason": "json", "lines": 1}]


def test_an_empty_day_is_refused_and_validation_does_not_run(project: Project, instance: dg.DagsterInstance) -> None:
    result = run("ingest_and_validate", instance, "2026-01-05")

    assert not result.success
    refused = checks(result)["execution_logs:expectations"]
    assert not refused.passed
    assert refused.metadata["gate"].value == "row_count"
    assert refused.metadata["observed"].value == "0"
    assert refused.metadata["allowed"].value == "at least 1 rows"
    assert "dataset_validation" not in materialized(result)


def test_a_refused_dataset_stops_everything_downstream(
    project: Project, instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    log_executions(9)
    assert run("ingest_and_validate", instance, today).success
    duplicate(execution_tables(project)[0])

    result = run("train_planner", instance)

    assert not result.success
    assert list(materialized(result)) == ["dataset_validation"]
    assert materialized(result)["dataset_validation"]["verdict"] == "refused"
    verdict = checks(result)["dataset_validation:verdict"]
    assert not verdict.passed
    assert verdict.blocking
    assert verdict.severity is dg.AssetCheckSeverity.ERROR
    assert verdict.metadata["gate"].value == "duplicates"
    assert verdict.metadata["observed"].value == "0.5"
    assert verdict.metadata["allowed"].value == "at most 0.1 of the rows"
    failed = [event.step_key for event in result.all_events if event.is_step_failure]
    assert failed == ["dataset_verdict"], "no step may crash: the check alone refuses"
    assert not training_folder(project).exists()


def test_too_few_rows_stop_before_training(
    project: Project, instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    log_executions(9)
    run("ingest_and_validate", instance, today)

    result = run("train_planner", instance)

    assert list(materialized(result)) == ["dataset_validation", "training_data"]
    data = materialized(result)["training_data"]
    assert data["rows"] == 9
    assert Path(data["json"]).exists()
    refused = [name for name, check in checks(result).items() if check.blocking and not check.passed]
    assert refused == ["training_data:enough_rows"]
    gate = checks(result)["training_data:enough_rows"].metadata
    assert gate["observed"].value == "9 rows"
    assert gate["allowed"].value == f">= {project.training.min_rows} rows, every split with some"
    assert not project.paths.checkpoints.exists()


def test_a_backfill_of_a_month_is_one_run(
    project: Project, instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    log_executions(4)
    (segment,) = project.paths.execution_logs.glob("*/*.jsonl")
    days = [f"2026-02-{number:02d}" for number in range(1, 29)]
    for place, day in enumerate(days):
        if place % 7 == 6:  # days without traffic
            continue
        folder = project.paths.execution_logs / day
        folder.mkdir()
        changes = [{"execution_id": f"{day}-{n}", "instruction": f"Task {n} of {day}."} for n in range(4)]
        found_here = zip(read_segment(segment).records, changes, strict=True)
        lines = [record.model_copy(update=change).to_line() + b"\n" for record, change in found_here]
        (folder / segment.name).write_bytes(b"".join(lines))
    span = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}

    result = defs.resolve_job_def("ingest_and_validate").execute_in_process(instance=instance, tags=span)

    assert result.success
    found = materialized(result)["execution_logs"]
    assert (found["rows"], found["new_rows"]) == (96, 96)
    events = [e for e in result.get_asset_materialization_events() if e.asset_key == keys.EXECUTION_LOGS]
    assert sorted(str(event.partition) for event in events) == days
    assert materialized(result)["dataset_validation"]["ingested_executions"] == 96
    assert execution_tables(project)[0].stem == days[0]
    assert defs.resolve_asset_graph().get(keys.EXECUTION_LOGS).backfill_policy.max_partitions_per_run == 31


def duplicate(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, partitioning=None)
    pq.write_table(pa.concat_tables([table, table]), path)


def test_training_data_follow_a_dataset_only_past_its_blocking_checks(
    project: Project, instance: dg.DagsterInstance, log_executions: Log, today: str
) -> None:
    def tick(cursor: Any = None) -> Any:
        return dg.evaluate_automation_conditions(
            defs=defs,
            instance=instance,
            asset_selection=dg.AssetSelection.assets(keys.TRAINING_DATA),
            cursor=cursor,
        )

    before = tick()
    log_executions(9)
    assert run("ingest_and_validate", instance, today).success
    approved = tick(before.cursor)
    duplicate(execution_tables(project)[0])
    run("train_planner", instance)
    refused = tick(approved.cursor)

    assert before.get_num_requested(keys.TRAINING_DATA) == 0
    assert approved.get_num_requested(keys.TRAINING_DATA) == 1
    assert refused.get_num_requested(keys.TRAINING_DATA) == 0


def test_an_unreadable_configuration_is_reported_by_the_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestai.errors import ConfigError
    from resources.orchestai_resource import OrchestAIResource

    (tmp_path / "project.yml").write_text("name: [", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"project\.yml"):
        _ = OrchestAIResource(project_dir=str(tmp_path)).project


def test_the_anomaly_model_is_trained_on_the_log_and_described(
    project: Project, instance: dg.DagsterInstance, log_executions: Log
) -> None:
    log_executions(105)  # two sub-tasks an execution on average
    result = dg.materialize(
        [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)],
        selection=[keys.ANOMALY_MODEL],
        instance=instance,
        resources=defs.resources,
    )
    assert result.success
    found = materialized(result)["anomaly_model"]
    assert Path(found["path"]) == project.paths.checkpoints / "anomaly"
    assert [(row.data["worker"], row.data["calls"]) for row in found["calls"].records] == [("sim-fast", 210)]
    assert found["threshold"] > 0
    assert "base64" in found["scores"]
    assert "base64" in found["loss"]
