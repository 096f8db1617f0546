"""Which files a configuration has, and which model each kind follows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from orchestai.config.arms import ArmsConfig
from orchestai.config.catalogs import TaskTypesFile, WorkersFile
from orchestai.config.expectations import ExpectationSuite
from orchestai.config.profiles import ProfileConfig, ProjectFile
from orchestai.config.promotion import PromotionConfig
from orchestai.config.prompts import PromptsFile
from orchestai.config.reflex import ReflexConfig
from orchestai.config.sources import SourcesFile
from orchestai.config.training import Phase1Config, Phase2Config, RewardConfig, RouterConfig, TrainingDataConfig
from orchestai.errors import ConfigProblem

SUFFIXES = (".yml", ".yaml")
IGNORED = ("schemas", "__pycache__")


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: Name of the kind, and of its JSON Schema.
        model: Model that the file follows.
        place: The file itself, or the folder of the files.
        required: Whether at least one must be there.
        rendered: Whether `env_var()` is replaced; prompts keep their Jinja.
    """

    name: str
    model: type[BaseModel]
    place: str
    required: bool = False
    rendered: bool = True


PROJECT = Kind("project", ProjectFile, "project.yml", required=True)
PROFILES = Kind("profiles", ProfileConfig, "profiles.yml", required=True)
SOURCES = Kind("sources", SourcesFile, "sources")
WORKERS = Kind("workers", WorkersFile, "workers", required=True)
TASK_TYPES = Kind("task_types", TaskTypesFile, "task_types", required=True)
EXPECTATIONS = Kind("expectations", ExpectationSuite, "expectations")
PHASE1 = Kind("training_phase1", Phase1Config, "training/phase1.yml")
PHASE2 = Kind("training_phase2", Phase2Config, "training/phase2.yml")
ROUTER = Kind("training_router", RouterConfig, "training/router.yml")
TRAINING_DATA = Kind("training_data", TrainingDataConfig, "training/data.yml")
REWARDS = Kind("rewards", RewardConfig, "rewards")
PROMOTION = Kind("promotion", PromotionConfig, "promotion")
ARMS = Kind("arms", ArmsConfig, "arms/default.yml")
REFLEX = Kind("reflex", ReflexConfig, "reflex/default.yml")
PROMPTS = Kind("prompts", PromptsFile, "prompts", required=True, rendered=False)

KINDS = (
    PROJECT,
    PROFILES,
    SOURCES,
    WORKERS,
    TASK_TYPES,
    EXPECTATIONS,
    PHASE1,
    PHASE2,
    ROUTER,
    TRAINING_DATA,
    REWARDS,
    PROMOTION,
    REFLEX,
    PROMPTS,
    ARMS,
)


def find_files(directory: Path) -> tuple[dict[str, list[Path]], list[ConfigProblem]]:
    """Return the files of each kind in alphabetical order, and those that are missing or misplaced."""
    found: dict[str, list[Path]] = {kind.name: [] for kind in KINDS}
    problems: list[ConfigProblem] = []
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.suffix not in SUFFIXES or not path.is_file() or _is_ignored(relative):
            continue
        kind = _kind_of(relative)
        if kind is None:
            problems.append(_misplaced(directory, relative))
        else:
            found[kind.name].append(path)
    for kind in KINDS:
        if kind.required and not found[kind.name]:
            place = kind.place if _is_file(kind.place) else f"{kind.place}/*.yml"
            problems.append(
                ConfigProblem(
                    file=str(directory / kind.place),
                    line=None,
                    key="(file)",
                    message=f"is missing: a configuration has {place}.",
                    remedy="`orchestai init DIR` writes a complete one.",
                )
            )
        if _is_file(kind.place) and len(found[kind.name]) > 1:
            names = " and ".join(path.name for path in found[kind.name])
            problems.append(
                ConfigProblem(str(directory / kind.place), None, "(file)", f"is there twice: {names}.", "Keep one.")
            )
    return found, problems


def _is_file(place: str) -> bool:
    return place.endswith(SUFFIXES)


def _is_ignored(relative: Path) -> bool:
    return any(part in IGNORED or part.startswith(".") for part in relative.parts)


def _kind_of(relative: Path) -> Kind | None:
    place = relative.with_suffix(".yml").as_posix()
    folder = relative.parent.as_posix()
    for kind in KINDS:
        if kind.place == place or (not _is_file(kind.place) and kind.place == folder):
            return kind
    return None


def _misplaced(directory: Path, relative: Path) -> ConfigProblem:
    places = [kind.place for kind in KINDS]
    folder = relative.parent.as_posix()
    close = difflib.get_close_matches(relative.as_posix(), places, n=1) or difflib.get_close_matches(
        folder, places, n=1
    )
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(places)}."
    return ConfigProblem(str(directory / relative), None, "(file)", "belongs to no kind of configuration.", hint)
