"""A project of its own for each test."""

from pathlib import Path

import pytest

from orchestai.config import Project, load_project
from tests.dagster_fixtures import instance, log_executions, today

__all__ = ["instance", "log_executions", "today"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORCHESTAI_TARGET", "ci")
    return load_project()
