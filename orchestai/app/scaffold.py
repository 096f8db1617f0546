"""Writes a user's own project outside the installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestai.config import packaged_directory
from orchestai.errors import InputError, StorageError

_WORKSPACE = """\
load_from:
  - python_module:
      module_name: orchestai_assets.definitions
      location_name: orchestai
"""

_ENVIRONMENT = """\
# Copy to .env and fill in. Nothing here is needed: without it the packaged model answers.
# OPENAI_BASE_URL=https://api.openai.com/v1
# OPENAI_API_KEY=
# OPENAI_MODEL=
ORCHESTAI_PROJECT_DIR=configs
ORCHESTAI_HOME=.orchestai
# Alerts go there as well as to the log.
# ORCHESTAI_ALERT_WEBHOOK=
"""

_IGNORED = ".env\n.orchestai/\ndagster_home/*\n!dagster_home/dagster.yaml\n"


def create_project(directory: Path) -> list[Path]:
    """Write configs, workspace.yaml, dagster_home/dagster.yaml and .env.example; returns what was written.

    Raises:
        InputError: The folder holds files already.
        StorageError: It cannot be written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory} exists and is not an empty folder.", remedy="Name a new folder.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        source = packaged_directory()
        shutil.copytree(source, directory / "configs", ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
        (directory / "workspace.yaml").write_text(_WORKSPACE, encoding="utf-8")
        (directory / "dagster_home").mkdir()
        shutil.copy(Path(__file__).with_name("dagster.yaml"), directory / "dagster_home")
        (directory / ".env.example").write_text(_ENVIRONMENT, encoding="utf-8")
        (directory / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write {directory}: {error.strerror}.", path=str(directory)) from error
    return sorted(path for path in directory.rglob("*") if path.is_file())
