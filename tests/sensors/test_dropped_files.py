"""The sensor asks for one run a content; the job writes the verdict and shows it."""

import json
import os
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd

from jobs.validate_file import validate_file_job
from orchestai.config import Project
from resources.orchestai_resource import OrchestAIResource
from sensors.dropped_files import dropped_files_sensor

SENSOR = dropped_files_sensor()


def tick(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"orchestai": OrchestAIResource()})
    result = SENSOR(context)
    assert isinstance(result, dg.SensorResult)
    return result


def drop(project: Project, name: str, rows: int = 120) -> Path:
    (inbox,) = project.validation.inboxes
    inbox.folder.mkdir(parents=True, exist_ok=True)
    path = inbox.folder / name
    rng = np.random.default_rng(rows)
    pd.DataFrame({"a": rng.standard_normal(rows), "b": rng.standard_normal(rows)}).to_csv(path, index=False)
    os.utime(path, (1000, 1000))
    return path


def test_a_complete_file_is_asked_for_once_with_its_content_in_the_key(
    project: Project, instance: dg.DagsterInstance
) -> None:
    idle = tick(instance, None)
    assert idle.run_requests == []
    assert idle.skip_reason is not None
    path = drop(project, "data.csv")
    first = tick(instance, idle.cursor)
    assert first.run_requests == [], "it may still grow"
    second = tick(instance, first.cursor)
    (asked,) = second.run_requests or ()
    config = asked.run_config["ops"]["validate_dropped_file"]["config"]
    assert config["path"] == str(path)
    assert asked.run_key == f"inbox:data.csv:{config['content']}"
    assert tick(instance, second.cursor).run_requests == []
    assert tick(instance, "no json").run_requests == []


def run(project: Project, instance: dg.DagsterInstance, path: Path) -> dg.ExecuteInProcessResult:
    return validate_file_job(project).execute_in_process(
        instance=instance,
        run_config={
            "ops": {"validate_dropped_file": {"config": {"path": str(path)}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        resources={"orchestai": OrchestAIResource()},
        raise_on_error=False,
    )


def test_the_run_writes_the_verdict_and_shows_it(project: Project, instance: dg.DagsterInstance) -> None:
    path = drop(project, "data.csv")
    result = run(project, instance, path)

    assert result.success
    written = json.loads(path.with_name("data.csv.verdict.json").read_text())
    (event,) = result.get_asset_materialization_events()
    assert event.asset_key == dg.AssetKey(["dropped_files", "inbox", "data.csv"])
    assert event.materialization.metadata["verdict"].value == written["verdict"]
    stored = instance.get_run_by_id(result.run_id)
    assert stored is not None
    assert stored.tags["orchestai/verdict"] == written["verdict"]
    assert path.exists()


def test_an_unreadable_file_fails_the_run_and_says_why(project: Project, instance: dg.DagsterInstance) -> None:
    path = drop(project, "data.parquet")
    path.write_bytes(b"PAR1 nothing of the kind")
    result = run(project, instance, path)

    assert not result.success
    assert json.loads(path.with_name("data.parquet.verdict.json").read_text())["verdict"] == "unreadable"
