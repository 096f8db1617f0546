"""The whole loop with nobody at the keyboard: real service, workers, webserver, daemon and registry, each a process.

People ask, and the loop learns: executions are ingested, validated, learned from in Phase 1 and Phase 2, reported on,
judged by the gates, released share by share. Then logs are poisoned, then a challenger fails that no gate can see
through: what it does is as good as before until the simulator changes under it.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from orchestai.app.champion import champion_checkpoint
from orchestai.app.places import execution_tables, phase1_folder, phase2_folder
from orchestai.app.promotion import release_candidate
from orchestai.app.report.evaluation import EVALUATION_FILE, EVALUATION_PAGE, evaluation_folder
from orchestai.checkpoint import load_checkpoint, read_manifest, save_checkpoint
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.config import Project, load_project
from orchestai.logs import ExecutionLogger, read_executions
from orchestai.registry import ModelRegistry, ModelVersion, open_registry
from orchestai.registry.records import MODEL
from tests.e2e.live_world import Process, Traffic, free_port, service, simulator, write_workers
from tests.e2e.test_dagster_dev import Dagster, dagster_dev

__all__ = ["dagster_dev"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]

TRAIN_S = 420.0
NEW_ROWS = 320
"""More than the releases take: no training starts while one goes on."""

PICKED_UP_S = 5.0
FIRST_S = 60.0
"""The first version of all also loads torch and the encoder into the service."""


class World:
    """Everything that runs."""

    def __init__(self, project: Project, dagster: Dagster, port: int, log: Path) -> None:
        self.project = project
        self.dagster = dagster
        self.log = log
        self.port = port
        self.workers = simulator(port, log)
        self.service: Process = service(free_port(), log)
        self.traffic = Traffic(self.service.port)

    def worker_fails(self, name: str) -> None:
        """Let all answers of a worker be wrong from now on."""
        self.workers.stop()
        self.workers = simulator(self.port, self.log, name, "0")

    def stop(self) -> None:
        self.traffic.close()
        self.service.stop()
        self.workers.stop()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def impatient(project: Project, port: int) -> Project:
    """Return the project with sensors that look often, few executions to learn from and short stages."""
    configs = project.directory
    write_workers(configs, port)
    change(
        configs / "project.yml",
        lambda content: (
            content["automation"]["retrain"].update(new_rows=NEW_ROWS, pause_minutes=0, phase2=True),
            content["automation"].update(sensors={"logs_s": 3, "retrain_s": 3, "drift_s": 30, "canary_s": 2}),
            content["logs"].update(segment_seconds=2),
        ),
    )
    change(configs / "training" / "phase1.yml", lambda content: content.update(learning_rate=2e-3, epochs=10))
    change(configs / "training" / "phase2.yml", lambda content: content.update(updates=4, workflows=64))
    change(
        configs / "promotion" / "default.yml",
        lambda content: (
            content["heldout"].update(min_rows=10),
            # A machine that is busy plans slowly, whoever plans.
            content["gates"].update(latency_max_ratio=20, latency_max_ms=5000),
            content["canary"].update(
                stages=[{"share": 0.3, "units": 10}, {"share": 0.5, "units": 10}],
                holdback_share=0.2,
                holdback_units=5,
                reference_units=20,
                min_units=10,
                harms={"success": {"size": 0.2, "alpha": 0.015}},
            ),
        ),
    )
    return load_project()


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    how(content)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture
def world(impatient: Project, port: int, dagster_dev: Callable[[], Dagster], tmp_path: Path) -> Iterator[World]:
    made = World(impatient, dagster_dev(), port, tmp_path / "processes.log")
    yield made
    made.stop()


def test_it_learns_by_itself_and_cannot_make_itself_worse(world: World) -> None:
    registry = open_registry(world.project)

    world.traffic.ask(NEW_ROWS + 30)
    the_first_version_serves(world, registry)

    world.traffic.ask(NEW_ROWS + 10)
    the_second_takes_over_share_by_share(world, registry)

    poisoned_logs_are_refused(world)
    a_worse_one_is_rolled_back(world, registry)

    each_execution_is_logged_once(world)


def the_first_version_serves(world: World, registry: ModelRegistry) -> None:
    project = world.project
    (trained,) = world.dagster.wait_for(lambda: ended(world.dagster, "train_planner", "SUCCESS"), TRAIN_S)
    tags = {tag["key"]: tag["value"] for tag in trained["tags"]}
    assert tags["dagster/sensor_name"] == "retrain_on_new_data"
    assert tags["orchestai/reason"].endswith("new validated executions")
    assert tags["orchestai/trains"] == "true"

    summary = json.loads((evaluation_folder(project) / EVALUATION_FILE).read_text(encoding="utf-8"))
    phase1 = read_manifest(phase1_folder(project))
    assert summary["challenger"] == phase1.digest
    assert read_manifest(phase2_folder(project)).parents == (phase1.digest,)
    page = (evaluation_folder(project) / EVALUATION_PAGE).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2

    judged = json.loads((project.paths.reports / "release" / "candidate.json").read_text(encoding="utf-8"))
    assert judged["action"] == "champion", judged
    assert all(gate["passed"] for gate in judged["gates"]["results"])
    version = registry.get("champion")
    assert version.version == "1"
    assert has_lineage(version, parts={"phase1", "phase2"})
    assert version.data_hash["phase1"] == summary["data_hash"]
    world.dagster.wait_for(lambda: served(world) == {"1"}, FIRST_S)


def the_second_takes_over_share_by_share(world: World, registry: ModelRegistry) -> None:
    world.dagster.wait_for(lambda: len(ended(world.dagster, "train_planner", "SUCCESS")) == 2, TRAIN_S)
    state = registry.state()
    judged = json.loads((world.project.paths.reports / "release" / "candidate.json").read_text(encoding="utf-8"))
    assert judged["action"] == "canary", judged
    assert state.aliases.champion == "1"
    assert state.aliases.challenger == "2"
    release = state.releases[MODEL].id

    over = lambda: not registry.state().releases  # noqa: E731
    world.traffic.until(over, at_a_time=4, most=400, pause_s=0.5)

    state = registry.state()
    assert state.ended[MODEL].action == "finish", state
    assert (state.aliases.champion, state.aliases.previous) == ("2", "1")
    assert has_lineage(registry.get("2"), parts={"phase1", "phase2"})
    arms = [arm for each in read_executions(world.project.paths.execution_logs) for arm in arms_of(each, release)]
    assert {round(arm.share, 2) for arm in arms} == {0.3, 0.5, 0.8}
    assert Counter(arm.arm for arm in arms)["challenger"] >= 20


def poisoned_logs_are_refused(world: World) -> None:
    """Log executions that cost less than nothing: their day is refused, and nothing is trained."""
    project, dagster = world.project, world.dagster
    dagster.wait_for(lambda: quiet(dagster), TRAIN_S)
    before = len(runs(dagster, "train_planner"))
    refusals = len(ended(dagster, "ingest_and_validate", "FAILURE"))
    champion = champion_checkpoint(project)
    good = read_executions(project.paths.execution_logs)
    with ExecutionLogger(project.paths.execution_logs) as logger:
        for number in range(NEW_ROWS + 50):
            changes = {"execution_id": f"poison-{number}", "cost": -1.0, "timestamp": datetime.now(UTC)}
            logger.log(good[number % len(good)].model_copy(update=changes))

    dagster.wait_for(lambda: len(ended(dagster, "ingest_and_validate", "FAILURE")) > refusals, 180)
    looked = ticks(dagster, "retrain_on_new_data")
    dagster.wait_for(lambda: ticks(dagster, "retrain_on_new_data") >= looked + 2, 60)

    assert len(runs(dagster, "train_planner")) == before
    assert champion_checkpoint(project) == champion
    assert served(world) == {"2"}
    remove_poison(project)


def remove_poison(project: Project) -> None:
    """Do what the how-to says: take the segments away, and their table with them."""
    for segment in project.paths.execution_logs.glob("*/*.jsonl"):
        if b"poison-" in segment.read_bytes():
            segment.unlink()
    for table in execution_tables(project):
        table.unlink()


def a_worse_one_is_rolled_back(world: World, registry: ModelRegistry) -> None:
    project, dagster = world.project, world.dagster
    version = registry.register(prefers_the_other_worker(project))
    judged = release_candidate(project, version=version.version)
    assert judged.action == "canary", judged
    world.dagster.wait_for(lambda: version.version in served(world), FIRST_S)
    world.worker_fails("travel-desk")

    asked = world.traffic.until(lambda: not registry.state().releases, at_a_time=4, most=400, pause_s=0.5)

    state = registry.state()
    assert state.ended[MODEL].action == "rollback", state
    assert state.ended[MODEL].challenger == version.version
    assert state.aliases.champion == "2"
    world.dagster.wait_for(lambda: served(world) == {"2"}, PICKED_UP_S)
    assert all(answer["success"] for answer in world.traffic.ask(20))
    print(f"rolled back after {asked} instructions")  # noqa: T201
    # Ingestion has gone on from where the poison was taken away. A training may go on too: there is enough that is new.
    dagster.wait_for(lambda: set(world.traffic.answers) <= ingested(project), 180)
    dagster.wait_for(lambda: last_ended(dagster, "ingest_and_validate") == "SUCCESS", 180)


def each_execution_is_logged_once(world: World) -> None:
    world.service.stop()
    logged = Counter(each.execution_id for each in read_executions(world.project.paths.execution_logs))
    assert set(world.traffic.answers) == set(logged)
    assert set(logged.values()) == {1}


def prefers_the_other_worker(project: Project) -> Path:
    """Return the champion's checkpoint with its choice between the two workers turned round."""
    champion = champion_checkpoint(project)
    assert champion is not None
    checkpoint = load_checkpoint(champion)
    tensors: dict[str, torch.Tensor] = dict(checkpoint.tensors)
    turned = [name for name in tensors if ".selector.state.3." in name]  # the last layer, in every member
    assert turned, sorted(tensors)
    for name in turned:
        tensors[name] = -tensors[name]
    manifest = checkpoint.manifest
    fields = ManifestFields(**{name: getattr(manifest, name) for name in ManifestFields.model_fields})
    folder = project.home / "turned"
    shutil.rmtree(folder, ignore_errors=True)
    save_checkpoint(folder / "phase1", tensors, checkpoint.config, fields)
    return folder


def ingested(project: Project) -> set[str]:
    """Return the executions that the tables hold."""
    tables = [pq.ParquetFile(table).read(columns=["execution_id"]) for table in execution_tables(project)]
    return {name for table in tables for name in table["execution_id"].to_pylist()}


def has_lineage(version: ModelVersion, parts: set[str]) -> bool:
    return set(version.parts) == parts and set(version.data_hash) == parts and bool(version.code_version)


def served(world: World) -> set[str | None]:
    """Return the versions that answer just now."""
    return {answer["plan"]["serving"] and answer["plan"]["serving"]["version"] for answer in world.traffic.ask(8)}


def arms_of(record: Any, release: str) -> list[Any]:
    serving = record.planner_outputs.serving
    return [arm for arm in serving.arms if arm.release == release] if serving is not None else []


def runs(dagster: Dagster, job: str) -> list[dict[str, Any]]:
    """Return the runs of a job, the newest first."""
    data = dagster.ask(
        f"""{{ runsOrError(filter: {{pipelineName: "{job}"}}) {{
             ... on Runs {{ results {{ runId status tags {{ key value }} }} }} }} }}"""
    )
    found: list[dict[str, Any]] = data["runsOrError"]["results"]
    return found


def ended(dagster: Dagster, job: str, status: str) -> list[dict[str, Any]]:
    return [run for run in runs(dagster, job) if run["status"] == status]


def last_ended(dagster: Dagster, job: str) -> str | None:
    return next((run["status"] for run in runs(dagster, job) if run["status"] in ("SUCCESS", "FAILURE")), None)


def quiet(dagster: Dagster) -> bool:
    """Say whether no run waits or goes on."""
    data = dagster.ask(
        """{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}) {
             ... on Runs { results { runId } } } }"""
    )
    return not data["runsOrError"]["results"]


def ticks(dagster: Dagster, sensor: str) -> int:
    """Return how often a sensor has looked."""
    data = dagster.ask(
        f"""{{ sensorOrError(sensorSelector: {{repositoryLocationName: "orchestai", repositoryName: "__repository__",
               sensorName: "{sensor}"}}) {{ ... on Sensor {{ sensorState {{ ticks(limit: 500) {{ id }} }} }} }} }}"""
    )
    return len(data["sensorOrError"]["sensorState"]["ticks"])
