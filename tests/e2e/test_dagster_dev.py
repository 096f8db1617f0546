"""The real webserver and daemon, as `make run` starts them."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestai.app.places import execution_tables
from orchestai.config import Project
from orchestai.contracts import ExecutionResult, Instruction
from orchestai.engine.store import ExecutionStore
from orchestai.service.dagster_report import DagsterReporter

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
START_S = 120.0
RUN_S = 240.0


class Dagster:
    """A running `dagster dev`."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self._url = f"{self.base_url}/graphql"
        self._process = process
        self._log = log

    def ask(self, query: str) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
        assert "errors" not in content, content
        data: dict[str, Any] = content["data"]
        return data

    def wait_for(self, what: Callable[[], Any], seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"dagster dev ended:\n{self._tail()}"
            try:
                if found := what():
                    return found
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"not within {seconds:g} s:\n{self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


@pytest.fixture
def dagster_dev(project: Project, tmp_path: Path) -> Iterator[Callable[[], Dagster]]:
    """Return a function that starts it; it is stopped at the end."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "deploy" / "dev" / "dagster.yaml", home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "dagster.log"
    started: list[subprocess.Popen[bytes]] = []

    def start() -> Dagster:
        command = [str(Path(sys.executable).with_name("dagster")), "dev"]
        arguments = ["-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command + arguments,
                cwd=ROOT,
                env={**os.environ, "DAGSTER_HOME": str(home)},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        dagster = Dagster(port, process, log)
        dagster.wait_for(lambda: dagster.ask("{ version }"), START_S)
        return dagster

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_webserver_shows_the_whole_lineage(dagster_dev: Callable[[], Dagster], tmp_path: Path) -> None:
    dagster = dagster_dev()

    data = dagster.ask(
        """{
          assetNodes { assetKey { path } dependencyKeys { path } groupName kinds description
                       hasAssetChecks isPartitioned }
          repositoriesOrError { ... on RepositoryConnection { nodes { name location { name }
            jobs { name } sensors { name sensorState { status } } schedules { name cronSchedule } } } }
        }"""
    )

    nodes = {node["assetKey"]["path"][0]: node for node in data["assetNodes"]}
    lineage = {name: sorted(key["path"][0] for key in node["dependencyKeys"]) for name, node in nodes.items()}
    assert lineage == {
        "execution_logs": [],
        "dataset_validation": ["execution_logs"],
        "training_data": ["dataset_validation"],
        "phase1_checkpoint": ["training_data"],
        "phase1_report": ["phase1_checkpoint", "training_data"],
        "phase2_checkpoint": ["phase1_checkpoint", "training_data"],
        "phase2_report": ["phase2_checkpoint"],
        "anomaly_model": ["execution_logs"],
        "routing_outcomes": ["dataset_validation"],
        "worker_metrics": ["routing_outcomes"],
        "features": ["routing_outcomes"],
        "router_checkpoint": ["features", "routing_outcomes", "training_data"],
        "evaluation_report": ["phase1_report"],
        "model_release": ["evaluation_report", "phase1_checkpoint", "phase1_report", "phase2_checkpoint"],
    }
    assert all(node["hasAssetChecks"] and node["description"] and node["kinds"] for node in nodes.values())
    assert [name for name, node in nodes.items() if node["isPartitioned"]] == ["execution_logs"]
    (location,) = data["repositoriesOrError"]["nodes"]
    assert location["location"]["name"] == "orchestai"
    jobs = {job["name"] for job in location["jobs"]}
    assert {"live_instruction", "collect_executions", "ingest_and_validate", "train_planner"} <= jobs
    assert {sensor["name"]: sensor["sensorState"]["status"] for sensor in location["sensors"]} == dict.fromkeys(
        (
            "new_execution_logs",
            "retrain_on_new_data",
            "drift",
            "canary_verdict",
            "dropped_files",
            "automation",
            "alert_on_failure",
        ),
        "RUNNING",
    )
    schedules = {schedule["name"] for schedule in location["schedules"]}
    assert schedules == {"nightly_retraining", "weekly_retraining", "log_compaction", "freshness"}
    takes_reports_of_the_service(dagster, tmp_path / "state")


def takes_reports_of_the_service(dagster: Dagster, folder: Path) -> None:
    """What `orchestai serve` sends with `service.dagster_url` set stands at the asset as an observation."""
    store = ExecutionStore(folder)
    reporter = DagsterReporter(dagster.base_url, 60, store)
    store.accept("e", Instruction(text="Do it"), {}).result()
    result = ExecutionResult(
        success=True, outputs={}, total_cost=0.5, total_latency_ms=7, execution_id="e", completed=True
    )
    store.finish("e", result).result()
    time.sleep(0.01)
    assert asyncio.run(reporter.report())
    store.close()
    data = dagster.ask(
        """{ assetOrError(assetKey: {path: ["execution_logs"]}) { ... on Asset { assetObservations(limit: 1) {
               metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
    )
    (observation,) = data["assetOrError"]["assetObservations"]
    assert {"label": "executions", "intValue": 1} in observation["metadataEntries"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_daemon_ingests_what_is_logged(
    dagster_dev: Callable[[], Dagster], log_executions: Callable[[int], None], project: Project, today: str
) -> None:
    log_executions(5)
    dagster = dagster_dev()

    def finished() -> list[dict[str, Any]]:
        data = dagster.ask(
            """{ runsOrError(filter: {pipelineName: "ingest_and_validate"}) {
                 ... on Runs { results { status tags { key value } } } } }"""
        )
        runs: list[dict[str, Any]] = data["runsOrError"]["results"]
        return [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]

    (run,) = dagster.wait_for(finished, RUN_S)

    assert run["status"] == "SUCCESS"
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["dagster/partition"] == today
    assert tags["dagster/sensor_name"] == "new_execution_logs"
    assert execution_tables(project)[0].stem == today
