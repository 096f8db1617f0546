from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from orchestai.config import Project
from tests.app.endpoint import Endpoint, load, write_project
from tests.service.harness import Running, running


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("service") / "project")


@pytest.fixture(scope="session")
def make_httpserver() -> Iterator[HTTPServer]:
    """Serve each call in a thread of its own, so that a slow answer holds up no other."""
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def endpoint(httpserver: HTTPServer) -> Endpoint:
    return Endpoint(httpserver)


@pytest.fixture
def project(configs: Path, tmp_path: Path, endpoint: Endpoint) -> Project:
    """A project at test speed, with the loopback endpoint as the user's."""
    environment = {**endpoint.environment, "ORCHESTAI_OPENAI_TIMEOUT_S": "10"}
    return load(configs, tmp_path / "home", **environment)


@pytest.fixture
def service(project: Project) -> Iterator[Running]:
    with running(project) as found:
        yield found
