"""Reads a configuration; every problem of every file is reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from orchestai.config.arms import ArmsConfig
from orchestai.config.crosschecks import check_references
from orchestai.config.document import Document, read_document
from orchestai.config.expectations import ExpectationSuite
from orchestai.config.files import (
    ARMS,
    EXPECTATIONS,
    KINDS,
    PHASE1,
    PHASE2,
    PROFILES,
    PROJECT,
    PROMOTION,
    PROMPTS,
    REFLEX,
    REWARDS,
    ROUTER,
    SOURCES,
    TASK_TYPES,
    TRAINING_DATA,
    WORKERS,
    Kind,
    find_files,
)
from orchestai.config.problems import validate
from orchestai.config.profiles import ProjectFile
from orchestai.config.project import Project
from orchestai.config.promotion import PromotionConfig
from orchestai.config.redaction import redact
from orchestai.config.reflex import ReflexConfig
from orchestai.config.rendering import render_document
from orchestai.config.settings import Settings
from orchestai.config.targets import Selection, merge_target, select_target
from orchestai.config.training import (
    Phase1Config,
    Phase2Config,
    RewardConfig,
    RouterConfig,
    TrainingConfig,
    TrainingDataConfig,
)
from orchestai.contracts import TaskCatalog, WorkerCatalog
from orchestai.errors import ConfigError, ConfigProblem

Model = TypeVar("Model", bound=BaseModel)


def load_project(
    directory: Path | None = None, *, target: str | None = None, settings: Settings | None = None
) -> Project:
    """Read, check and resolve a configuration.

    Args:
        directory: Folder with `project.yml`; null means ORCHESTAI_PROJECT_DIR, or the packaged configuration.
        target: Target of `profiles.yml`; null means ORCHESTAI_TARGET, or the one that the profile names.
        settings: What the environment says; null reads it, and `.env`.

    Raises:
        ConfigError: Something is wrong; it lists all problems with file, line, key and remedy.
    """
    settings = settings if settings is not None else Settings.load()
    folder = (directory or settings.project_dir or packaged_directory()).expanduser().absolute()
    loading = _Loading(folder, settings)
    project = loading.load(target or settings.target)
    if project is None or loading.problems:
        secrets = settings.secrets()
        raise ConfigError([redact(problem, secrets) for problem in loading.problems])
    return project


def packaged_directory() -> Path:
    """Return the folder of the configuration that is installed with the package."""
    import dbt_like_configs

    return Path(dbt_like_configs.__file__).parent


class _Loading:
    """One pass over one folder."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        self.problems: list[ConfigProblem] = []
        self.documents: dict[str, list[Document]] = {kind.name: [] for kind in KINDS}

    def load(self, target: str | None) -> Project | None:
        if not self.directory.is_dir():
            self.problems.append(
                ConfigProblem(
                    file=str(self.directory),
                    line=None,
                    key="(folder)",
                    message="is a file, not a folder." if self.directory.exists() else "does not exist.",
                    remedy="`orchestai init DIR` writes one; ORCHESTAI_PROJECT_DIR names it.",
                )
            )
            return None
        self._read_files()
        base = self._one(PROJECT, ProjectFile)
        selection = self._select_target(base, target)
        parts = self._read_parts()
        self.problems.extend(check_references(self.documents, selection))
        if self.problems or base is None or selection is None:
            return None
        return self._assemble(base, selection, parts)

    def _read_files(self) -> None:
        files, problems = find_files(self.directory)
        self.problems.extend(problems)
        for kind in KINDS:
            for path in files[kind.name]:
                document, problems = read_document(path)
                self.problems.extend(problems)
                if isinstance(document.data, dict):
                    self.documents[kind.name].append(document)
                    # Of profiles.yml, only the target in use must have its variables: see _select_target.
                    if kind.rendered and kind is not PROFILES:
                        self.problems.extend(render_document(document, self.settings).values())

    def _select_target(self, base: ProjectFile | None, target: str | None) -> Selection | None:
        if base is None or not self.documents[PROFILES.name]:
            return None
        profiles = self.documents[PROFILES.name][0]
        selection, problems = select_target(profiles, base.profile, target, self.settings)
        self.problems.extend(problems)
        return selection

    def _read_parts(self) -> dict[str, list[Any]]:
        parts: dict[str, list[Any]] = {}
        for kind in (each for each in KINDS if each not in (PROJECT, PROFILES)):
            parts[kind.name] = [self._validate(document, kind.model) for document in self.documents[kind.name]]
        return parts

    def _one(self, kind: Kind, model: type[Model]) -> Model | None:
        documents = self.documents[kind.name]
        return self._validate(documents[0], model) if documents else None

    def _validate(self, document: Document, model: type[Model]) -> Model | None:
        value, problems = validate(document, model)
        self.problems.extend(problems)
        return value

    def _assemble(self, base: ProjectFile, selection: Selection, parts: dict[str, list[Any]]) -> Project | None:
        sections, problems = merge_target(base, selection)
        self.problems.extend(problems)
        if sections is None:
            return None
        home = self.settings.home if "home" in self.settings.model_fields_set else sections.paths.home
        home = home.expanduser().absolute()
        suites: list[ExpectationSuite] = parts[EXPECTATIONS.name]
        names = [document.path.stem for document in self.documents[REWARDS.name]]
        rewards = dict(zip(names, parts[REWARDS.name], strict=True))
        names = [document.path.stem for document in self.documents[PROMOTION.name]]
        promotion = dict(zip(names, parts[PROMOTION.name], strict=True))
        data: TrainingDataConfig = (parts[TRAINING_DATA.name] or [TrainingDataConfig()])[0]
        phase1: Phase1Config = (parts[PHASE1.name] or [Phase1Config()])[0]
        phase2: Phase2Config = (parts[PHASE2.name] or [Phase2Config()])[0]
        router: RouterConfig = (parts[ROUTER.name] or [RouterConfig()])[0]
        arms: ArmsConfig = (parts[ARMS.name] or [ArmsConfig()])[0]
        reflex: ReflexConfig = (parts[REFLEX.name] or [ReflexConfig()])[0]
        return Project(
            name=base.name,
            version=base.version,
            target=selection.target,
            directory=self.directory,
            home=home,
            settings=self.settings,
            paths=sections.paths.resolve(home),
            tasks=TaskCatalog(types=tuple(t for file in parts[TASK_TYPES.name] for t in file.task_types)),
            workers=WorkerCatalog(workers=tuple(w for file in parts[WORKERS.name] for w in file.workers)),
            planner=sections.planner,
            routing=sections.routing,
            engine=sections.engine,
            logs=sections.logs,
            reflex=reflex,
            endpoint=sections.endpoint,
            simulator=sections.simulator,
            service=sections.service,
            training=TrainingConfig(**dict(data), phase1=phase1, phase2=phase2, router=router),
            rewards=rewards if "default" in rewards else {"default": RewardConfig(), **rewards},
            promotion=promotion if "default" in promotion else {"default": PromotionConfig(), **promotion},
            registry=sections.registry,
            prompts=tuple(prompt for file in parts[PROMPTS.name] for prompt in file.prompts),
            expectations={suite.table: suite for suite in suites},
            sources={source.name: _absolute(source, home) for file in parts[SOURCES.name] for source in file.sources},
            tracking=sections.tracking,
            telemetry=sections.telemetry,
            validation=sections.validation.resolve(home, self.directory),
            dagster=sections.dagster,
            automation=sections.automation,
            arms=arms,
        )


def _absolute(source: Any, home: Path) -> Any:
    return source.model_copy(update={"path": home / source.path.expanduser()})
