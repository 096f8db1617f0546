"""Daemon, run worker and service are killed at random moments: nothing is repeated, and nothing is skipped.

Each instruction that was answered is in the Parquet exactly once, and each version of the registry is whole and says
what it was made from.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from orchestai.app.places import execution_tables
from orchestai.config import Project, load_project
from orchestai.registry import open_registry
from orchestai.registry.bundle import verify_bundle
from sensors.facts import IN_PROGRESS
from tests.e2e.live_world import Process, free_port, text_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SETTLE_S = 600.0


class Asker(threading.Thread):
    """Asks one thing after another, and again with the same key until it is answered.

    Attributes:
        answered: Execution ids by instruction.
    """

    def __init__(self, port: int, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{port}/v1/instructions"
        self._pause_s = pause_s
        self._ended = threading.Event()
        self.answered: dict[str, str] = {}

    def run(self) -> None:
        number = 0
        with httpx.Client(timeout=30) as http:
            while not self._ended.is_set():
                text = text_of(number)
                try:
                    answer = http.post(self._url, json={"text": text}, headers={"Idempotency-Key": f"k{number}"})
                except httpx.TransportError:
                    time.sleep(0.1)
                    continue
                if answer.status_code == 200:
                    self.answered[text] = answer.json()["execution_id"]
                    number += 1
                    time.sleep(self._pause_s)
                else:
                    time.sleep(0.2)

    def stop(self) -> None:
        self._ended.set()
        self.join(60)
        assert not self.is_alive(), "the last instruction is not answered"


class Loop:
    """Service and daemon, which are killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "dagster_home"
        self.home.mkdir()
        instance = yaml.safe_load((ROOT / "deploy" / "dev" / "dagster.yaml").read_text(encoding="utf-8"))
        instance["run_monitoring"].update(poll_interval_seconds=5, start_timeout_seconds=60)
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(instance), encoding="utf-8")
        self.log = folder / "processes.log"
        self.port = free_port()
        self.kills: Counter[str] = Counter()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._second: subprocess.Popen[bytes] | None = None
        self._service: Process | None = None
        self.start_daemon()
        self.start_service()

    def start_service(self) -> None:
        command = ["-m", "orchestai.cli.main", "serve", "--mock", "--port", str(self.port)]
        self._service = Process(command, self.port, self.log)

    def start_daemon(self) -> None:
        self._daemon = self._run_daemon()

    def start_second_daemon(self) -> None:
        self._second = self._run_daemon()

    def both_daemons_run(self) -> bool:
        return all(daemon is not None and daemon.poll() is None for daemon in (self._daemon, self._second))

    def _run_daemon(self) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "orchestai_assets.definitions"]
        env = {**os.environ, "DAGSTER_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as stream:
            return subprocess.Popen(command, cwd=ROOT, env=env, stdout=stream, stderr=subprocess.STDOUT)

    def kill_service(self) -> None:
        assert self._service is not None
        self._service.kill()
        self.kills["service"] += 1
        self.start_service()

    def kill_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        self.kills["daemon"] += 1
        self.start_daemon()

    def kill_everything_of_dagster(self) -> None:
        """As when the power goes: nobody is left who could say that a run is over."""
        assert self._daemon is not None
        self._daemon.kill()
        for pid in self._processes(""):
            os.kill(pid, signal.SIGKILL)
        self._daemon.wait()
        self.kills["machine"] += 1
        self.start_daemon()

    def kill_run_worker(self, rng: random.Random, patience_s: float = 20.0) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if found := self._processes("spawn_main"):
                time.sleep(rng.uniform(0, 6))
                for pid in found:
                    try:
                        os.kill(pid, signal.SIGKILL)
                        self.kills["run worker"] += 1
                    except ProcessLookupError:
                        continue
                return
            time.sleep(0.2)

    def _processes(self, needle: str) -> list[int]:
        """Return the processes of our instance, but for the daemon itself, by a word of their command line."""
        mine = f"DAGSTER_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            pid = int(folder.name)
            daemon = self._daemon.pid if self._daemon is not None else 0
            if mine in environment and needle.encode() in command and pid not in (daemon, os.getpid()):
                found.append(pid)
        return found

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop()
        for daemon in (self._daemon, self._second):
            if daemon is None:
                continue
            daemon.terminate()
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in self._processes(""):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def learning(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return the project with sensors that look often, and trainings that are short."""
    file = project.directory / "project.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["automation"]["retrain"].update(new_rows=60, pause_minutes=0)
    content["automation"]["sensors"] = {"logs_s": 2, "retrain_s": 2, "drift_s": 300, "canary_s": 5}
    content["logs"].update(segment_seconds=2)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    recipe = project.directory / "training" / "phase1.yml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("epochs: 8", "epochs: 2"), encoding="utf-8")
    return load_project()


@pytest.fixture
def loop(learning: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    made = Loop(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(made.home))
    yield made
    made.stop()


def until(holds: Callable[[], Any], seconds: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(1)


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(3, marks=pytest.mark.timeout(1200)), pytest.param(20, marks=pytest.mark.timeout(3000))],
)
def test_nothing_is_repeated_and_nothing_is_skipped(loop: Loop, learning: Project, rounds: int) -> None:
    rng = random.Random(rounds)
    asker = Asker(loop.port, pause_s=0.3)
    asker.start()
    for number in range(rounds):
        time.sleep(rng.uniform(1, 15))
        for kill in rng.sample([loop.kill_service, loop.kill_daemon, lambda: loop.kill_run_worker(rng)], 3):
            kill()
            time.sleep(rng.uniform(0, 2))
        if number % 3 == 2:
            loop.kill_everything_of_dagster()
    asker.stop()

    asserts_everything_was_done_once(learning, asker)
    assert set(loop.kills) == {"service", "daemon", "run worker", "machine"}
    print(f"{len(asker.answered)} answered, killed {dict(loop.kills)}")  # noqa: T201


@pytest.mark.timeout(1200)
def test_two_daemons_at_once_repeat_nothing_and_skip_nothing(loop: Loop, learning: Project) -> None:
    loop.start_second_daemon()
    asker = Asker(loop.port, pause_s=0.3)
    asker.start()
    until(lambda: len(asker.answered) >= 90, 300, lambda: f"{len(asker.answered)} answered")
    asker.stop()
    asserts_everything_was_done_once(learning, asker)
    assert loop.both_daemons_run()


def asserts_everything_was_done_once(learning: Project, asker: Asker) -> None:
    with dg.DagsterInstance.get() as instance:
        until(lambda: settled(instance, learning, asker), SETTLE_S, lambda: missing(instance, learning, asker))

        rows = ingested(learning)
        assert {asker.answered[text] for text in asker.answered} <= set(rows)
        assert set(rows.values()) == {1}
        texts = Counter(text for table in execution_tables(learning) for text in column(table, "instruction"))
        assert {text: texts[text] for text in asker.answered} == dict.fromkeys(asker.answered, 1)

        asserts_every_version_has_its_lineage(learning)


def asserts_every_version_has_its_lineage(project: Project) -> None:
    versions = open_registry(project).versions()
    assert versions, "nothing was trained"
    assert len({version.digest for version in versions}) == len(versions)
    for version in versions:
        manifests = verify_bundle(version.folder)
        assert {name: manifest.digest for name, manifest in manifests.items()} == version.parts
        assert {name: manifest.data_hash for name, manifest in manifests.items()} == version.data_hash
        assert all(version.data_hash.values())
        assert version.code_version
        assert version.seed["phase1"] is not None


def settled(instance: dg.DagsterInstance, project: Project, asker: Asker) -> bool:
    """Say whether everything is in the tables, a version is registered and no run waits or goes on."""
    if instance.get_runs_count(dg.RunsFilter(statuses=IN_PROGRESS)):
        return False
    return set(asker.answered.values()) <= set(ingested(project)) and bool(open_registry(project).versions())


def missing(instance: dg.DagsterInstance, project: Project, asker: Asker) -> str:
    left = set(asker.answered.values()) - set(ingested(project))
    going_on = [(run.job_name, run.status.value) for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))]
    versions = len(open_registry(project).versions())
    return f"{len(left)} of {len(asker.answered)} not ingested, {versions} versions, runs {going_on}"


def ingested(project: Project) -> Counter[str]:
    return Counter(name for table in execution_tables(project) for name in column(table, "execution_id"))


def column(table: Path, name: str) -> list[str]:
    found: list[str] = pq.read_table(table, columns=[name])[name].to_pylist()
    return found
