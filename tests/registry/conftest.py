"""A project whose registry has its tables already: MLflow takes seconds to make them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestai.checkpoint import save_checkpoint
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.config import Project, Settings, load_project
from orchestai.registry import ModelRegistry, ModelVersion, open_registry
from orchestai.registry.store import registry_uri


def project_at(home: Path) -> Project:
    return load_project(settings=Settings.from_mapping({"ORCHESTAI_HOME": str(home)}))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = project_at(tmp_path_factory.mktemp("registry"))
    open_registry(project).versions()
    return Path(registry_uri(project).removeprefix("sqlite:///"))


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    project = project_at(tmp_path)
    target = Path(registry_uri(project).removeprefix("sqlite:///"))
    target.parent.mkdir(parents=True)
    shutil.copy(empty_database, target)
    return project


@pytest.fixture
def registry(project: Project) -> ModelRegistry:
    return open_registry(project)


def write_checkpoint(project: Project, number: int, part: str = "phase1") -> Path:
    folder = project.paths.checkpoints / part
    fields = ManifestFields(
        kind=part, data_hash=f"data{number}", seed=number, metrics={"loss": number / 10}, parents=(f"parent{number}",)
    )
    save_checkpoint(folder, {"weight": torch.full((2,), float(number))}, {"number": number}, fields)
    return folder


@pytest.fixture
def make_version(project: Project, registry: ModelRegistry) -> Callable[[int], ModelVersion]:
    def make(number: int) -> ModelVersion:
        write_checkpoint(project, number)
        return registry.register()

    return make
