"""A project of its own for each test, its workers played by the simulator."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestai.config import Project, load_project
from resources.orchestai_resource import OrchestAIResource
from resources.step_files import JsonFiles


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORCHESTAI_TARGET", "ci")
    return load_project()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def resources() -> dict[str, Any]:
    return {"orchestai": OrchestAIResource(mock=True), "step_files": JsonFiles()}
