"""A project of its own for each test, small enough to train on."""

import shutil
from pathlib import Path

import pytest

from orchestai.config import Project, load_project, packaged_directory
from tests.dagster_fixtures import instance, log_executions, today

__all__ = ["instance", "log_executions", "today"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose training is small enough for a test."""
    configs = tmp_path / "configs"
    shutil.copytree(packaged_directory(), configs)
    shorten(configs / "training" / "data.yml", "min_rows: 50", "min_rows: 12")
    shorten(configs / "training" / "phase1.yml", "epochs: 50", "epochs: 8")
    shorten(configs / "training" / "data.yml", "rows: 900", "rows: 0")
    monkeypatch.setenv("ORCHESTAI_PROJECT_DIR", str(configs))
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORCHESTAI_TARGET", "ci")
    return load_project()


def shorten(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} no longer says {old!r}"
    file.write_text(text.replace(old, new), encoding="utf-8")
