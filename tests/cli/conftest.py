from __future__ import annotations

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from orchestai.logs import ExecutionLogRecord, read_executions
from tests.app.endpoint import Endpoint, write_project

with warnings.catch_warnings():
    # typer imports names that click 8.4 deprecates
    warnings.filterwarnings("ignore", "'click", DeprecationWarning)
    from orchestai.cli.main import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs commands in this process, as the shell would, on a project and a home of the test."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Outcome:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, captured.out, captured.err)

    def use(self, **environment: str) -> None:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)

    @property
    def records(self) -> list[ExecutionLogRecord]:
        return read_executions(self.home / "execution_logs")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command may set logging up for its process; here that process goes on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("cli") / "project")


@pytest.fixture
def cli(configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTAI_PROJECT_DIR", str(configs))
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    return Cli(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture(scope="session")
def make_httpserver() -> Iterator[HTTPServer]:
    """Serve each call in a thread of its own, so that a slow answer holds up no other."""
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def endpoint(httpserver: HTTPServer, cli: Cli) -> Endpoint:
    """A loopback endpoint that the CLI takes for the user's."""
    endpoint = Endpoint(httpserver)
    cli.use(**endpoint.environment)
    return endpoint


@pytest.fixture
def shell(cli: Cli) -> Callable[..., dict[str, Any]]:
    """Return what a new process needs to run a command as the user's shell does."""

    def arguments(*command: str) -> dict[str, Any]:
        # Tests are started in the repository, which need not be installed.
        path = os.pathsep.join(path for path in sys.path if path)
        return {
            "args": [sys.executable, "-m", "orchestai.cli.main", *command],
            "env": {**os.environ, "PYTHONPATH": path},
        }

    return arguments
