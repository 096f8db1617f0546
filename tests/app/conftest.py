from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from orchestai.config import Project
from orchestai.registry import open_registry
from orchestai.registry.store import registry_uri
from tests.app.endpoint import Endpoint, load, write_project


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("app") / "project")


@pytest.fixture(scope="session")
def make_httpserver() -> Iterator[HTTPServer]:
    """Serve each call in a thread of its own, so that a slow answer holds up no other."""
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def endpoint(httpserver: HTTPServer) -> Endpoint:
    return Endpoint(httpserver)


@pytest.fixture
def project(configs: Path, tmp_path: Path) -> Project:
    """The packaged configuration at test speed; state is under a folder of the test."""
    return load(configs, tmp_path / "home")


@pytest.fixture
def online(configs: Path, tmp_path: Path, endpoint: Endpoint) -> Project:
    """The same, with the loopback endpoint as the user's."""
    return load(configs, tmp_path / "home", **endpoint.environment)


@pytest.fixture(scope="session")
def database(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The empty tables of a registry."""
    project = load(configs, tmp_path_factory.mktemp("registry"))
    open_registry(project).versions()
    return Path(registry_uri(project).removeprefix("sqlite:///"))


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of loopback that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
