"""The whole loop with nobody at the keyboard: real webserver, real daemon, real registry."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from orchestai.app.champion import champion_checkpoint
from orchestai.app.places import phase1_folder
from orchestai.app.report.evaluation import EVALUATION_FILE, EVALUATION_PAGE, evaluation_folder
from orchestai.checkpoint import read_manifest
from orchestai.config import Project, load_project
from orchestai.logs import ExecutionLogger, read_executions
from orchestai.registry import open_registry
from orchestai.registry.records import MODEL
from orchestai.registry.release import start_release
from tests.e2e.test_dagster_dev import Dagster, dagster_dev
from tests.registry.conftest import write_checkpoint
from tests.sensors.test_canary_verdict import executions

__all__ = ["dagster_dev"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

LOOP_S = 420.0


@pytest.fixture
def impatient(project: Project) -> Project:
    """Return the project with sensors that look often and a low threshold."""
    file = project.directory / "project.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["automation"]["retrain"].update(new_rows=40, pause_minutes=0)
    content["automation"]["sensors"] = {"logs_s": 5, "retrain_s": 5, "drift_s": 30, "canary_s": 5}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_project()


def runs(dagster: Dagster, job: str) -> list[dict[str, Any]]:
    data = dagster.ask(
        f"""{{ runsOrError(filter: {{pipelineName: "{job}"}}) {{
             ... on Runs {{ results {{ runId status tags {{ key value }} }} }} }} }}"""
    )
    found: list[dict[str, Any]] = data["runsOrError"]["results"]
    return found


def ended(dagster: Dagster, job: str, status: str) -> list[dict[str, Any]]:
    return [run for run in runs(dagster, job) if run["status"] == status]


def test_it_learns_by_itself_and_cannot_make_itself_worse(
    impatient: Project, log_executions: Callable[[int], None], dagster_dev: Callable[[], Dagster]
) -> None:
    project = impatient
    dagster = dagster_dev()
    log_executions(45)

    (trained,) = dagster.wait_for(lambda: ended(dagster, "train_planner", "SUCCESS"), LOOP_S)

    tags = {tag["key"]: tag["value"] for tag in trained["tags"]}
    assert tags["dagster/sensor_name"] == "retrain_on_new_data"
    assert tags["orchestai/reason"] == "45 new validated executions"
    assert tags["orchestai/trains"] == "true"
    summary = json.loads((evaluation_folder(project) / EVALUATION_FILE).read_text(encoding="utf-8"))
    assert summary["challenger"] == read_manifest(phase1_folder(project)).digest
    assert summary["business"]["total"]["executions"] == 45
    page = (evaluation_folder(project) / EVALUATION_PAGE).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2

    registry = open_registry(project)
    canary = project.promotion["default"].canary
    if registry.state().aliases.champion is None:
        # So short a training may be refused by the gates, which is a result; a person may still let it serve.
        start_release(registry, "1", canary, now=datetime.now(UTC))
        registry.sync()
    assert registry.get("1").data_hash["phase1"] == summary["data_hash"]
    champion = champion_checkpoint(project)
    assert champion is not None
    served = read_manifest(champion).digest

    refuses_poison(project, dagster)
    assert read_manifest(champion).digest == served == read_manifest(phase1_folder(project)).digest

    write_checkpoint(project, 2)  # passes for a better one until it serves
    version = registry.register().version
    release = start_release(registry, version, canary, now=datetime.now(UTC)).releases[MODEL]
    registry.sync()
    with ExecutionLogger(project.paths.execution_logs) as logger:
        for record in executions(release, 1500, harm=True):
            logger.log(record)

    dagster.wait_for(lambda: not registry.state().releases, 120)

    assert registry.state().ended[MODEL].action == "rollback"
    assert registry.state().aliases.champion == "1"
    assert champion_checkpoint(project) == champion


def refuses_poison(project: Project, dagster: Dagster) -> None:
    """Log executions that cost less than nothing: their day is refused, and nothing is trained."""
    good = read_executions(project.paths.execution_logs)
    with ExecutionLogger(project.paths.execution_logs) as logger:
        for number in range(60):
            changes = {"execution_id": f"poison-{number}", "cost": -1.0, "timestamp": datetime.now(UTC)}
            logger.log(good[number % len(good)].model_copy(update=changes))
    dagster.wait_for(lambda: ended(dagster, "ingest_and_validate", "FAILURE"), 180)
    assert len(runs(dagster, "train_planner")) == 1
