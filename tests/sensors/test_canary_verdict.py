"""The canary sensor: a challenger that does harm is gone at the next look, and somebody is told."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestai.app.alerts import ALERTS
from orchestai.app.champion import champion_checkpoint
from orchestai.config import Project
from orchestai.contracts import Instruction, ServedBy
from orchestai.logs import ExecutionLogger, ExecutionLogRecord
from orchestai.logs.record import PlannerRecord
from orchestai.registry import Aliases, open_registry
from orchestai.registry.assign import side_of, unit_of
from orchestai.registry.records import MODEL, Release
from orchestai.registry.release import start_release
from orchestai_assets.definitions import defs
from resources.orchestai_resource import OrchestAIResource
from sensors.canary_verdict import canary_verdict_sensor
from tests.registry.conftest import write_checkpoint


def tick(project: Project, instance: dg.DagsterInstance) -> str:
    context = dg.build_sensor_context(instance=instance, definitions=defs, resources={"orchestai": OrchestAIResource()})
    return canary_verdict_sensor(project.automation).evaluate_tick(context).skip_message or ""


def executions(release: Release, n: int, harm: bool) -> Iterator[ExecutionLogRecord]:
    for number in range(n):
        unit = unit_of(Instruction(text=f"Instruction {number}"))
        arm = side_of(release, unit)
        yield ExecutionLogRecord(
            timestamp=datetime.now(UTC),
            instruction=f"Instruction {number}",
            success=not (harm and arm.arm == "challenger"),
            cost=0.01,
            latency_ms=100.0 + number % 7,
            planner_outputs=PlannerRecord(serving=ServedBy(version=arm.version, unit=unit, arms=(arm,))),
            execution_result={},
            execution_id=f"execution-{number}",
            completed=True,
        )


def test_where_nothing_was_registered_no_registry_is_made(project: Project, instance: dg.DagsterInstance) -> None:
    assert tick(project, instance) == "No release goes on."
    assert not list(project.home.rglob("mlflow.db"))


def test_a_challenger_that_does_harm_is_rolled_back_and_alerted_of(
    project: Project, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    registry = open_registry(project)
    for number in (1, 2):
        write_checkpoint(project, number)
        registry.register()
    state = registry.state()
    registry.change(state, state.update(aliases=Aliases(champion="1")))
    canary = project.promotion["default"].canary
    release = start_release(registry, "2", canary, now=datetime.now(UTC)).releases[MODEL]
    registry.sync()
    champion = champion_checkpoint(project)
    assert champion is not None
    assert champion.parent == registry.get("1").folder
    assert tick(project, instance).startswith("model: wait")

    with ExecutionLogger(project.paths.execution_logs) as logger:
        for record in executions(release, 1500, harm=True):
            logger.log(record)
    said = tick(project, instance)

    assert said.startswith("model: rollback")
    assert registry.state().aliases.champion == "1"
    assert registry.state().releases == {}
    (alert,) = [record for record in caplog.records if record.name == ALERTS.name]
    assert alert.alert == "release_rollback"  # type: ignore[attr-defined]
    assert tick(project, instance) == "No release goes on."
