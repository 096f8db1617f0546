"""An engine over scripted workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestai.arms.registry import ArmRegistry
from orchestai.config import EngineConfig, Project, load_project
from orchestai.engine import Engine
from orchestai.prompts import PromptLibrary
from tests.engine.scripted import ScriptedWorker


@pytest.fixture(scope="session")
def project() -> Project:
    return load_project()


@pytest.fixture
def make_engine(project: Project) -> Callable[..., Engine]:
    def make(workers: dict[str, ScriptedWorker], *, standings: ArmRegistry | None = None, **config: object) -> Engine:
        settings = {"backoff_min_s": 0.0, "backoff_max_s": 0.0, "backoff_jitter_s": 0.0, **config}
        checked = EngineConfig.model_validate(settings)
        return Engine(workers, PromptLibrary(project.prompts), project.tasks, checked, standings=standings)

    return make
