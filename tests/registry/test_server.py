"""The registry behind a real MLflow server, which is no dependency: ORCHESTAI_TEST_MLFLOW names its program."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestai.config import Project
from orchestai.errors import RegistryConflictError, RegistryUnreachableError
from orchestai.registry import Aliases, open_registry, read_pointer
from orchestai.registry.release import promote, start_release
from tests.registry.conftest import project_at, write_checkpoint

PROGRAM = os.environ.get("ORCHESTAI_TEST_MLFLOW") or shutil.which("mlflow") or ""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PROGRAM, reason="no MLflow server; set ORCHESTAI_TEST_MLFLOW to the program `mlflow`"),
]
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator["tuple[str, subprocess.Popen[bytes]]"]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *store],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    uri = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 200
    while True:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2).close()
            break
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.5)
    yield uri, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_versions_and_aliases_live_on_the_server_and_the_pointer_outlives_it(
    server: "tuple[str, subprocess.Popen[bytes]]", tmp_path: Path
) -> None:
    uri, process = server
    project: Project = project_at(tmp_path / "home")
    project = project.model_copy(update={"registry": project.registry.model_copy(update={"uri": uri})})
    registry = open_registry(project)
    canary = project.promotion["default"].canary
    write_checkpoint(project, 1)
    first = registry.register()
    assert registry.register() == first
    assert first.data_hash == {"phase1": "data1"}
    start_release(registry, first.version, canary, now=NOW)
    write_checkpoint(project, 2)
    second = registry.register()
    before = start_release(registry, second.version, canary, now=NOW)

    promote(registry, why="a person", now=NOW)

    assert open_registry(project).state().aliases == Aliases(champion="2", previous="1")
    with pytest.raises(RegistryConflictError):
        registry.change(before, before.update(aliases=Aliases(champion="1")))

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    with pytest.raises(RegistryUnreachableError):
        open_registry(project).state()
    pointer = read_pointer(project)
    assert pointer is not None
    assert pointer.champion is not None
    assert pointer.champion.folder == second.folder
