"""Training recipes as files of their own: read one for a single call, write the one that a search found."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel

from orchestai.config.document import read_document
from orchestai.config.problems import validate
from orchestai.config.redaction import redact
from orchestai.config.rendering import render_document
from orchestai.config.settings import Settings
from orchestai.config.training import Phase1Config, Phase2Config
from orchestai.errors import ConfigError, StorageError

Recipe = TypeVar("Recipe", bound=BaseModel)

_HEAD = """\
# yaml-language-server: $schema=../schemas/training_phase1.json
# Phase 1: supervised training of the planner.
"""


def read_phase1(path: Path, settings: Settings | None = None) -> Phase1Config:
    """Read a file of the form of `training/phase1.yml`; keys that it lacks have their defaults.

    Args:
        path: The file.
        settings: What `env_var(...)` in it stands for; null reads the environment.

    Raises:
        ConfigError: It cannot be read, or a key is wrong; all problems at once, with line and remedy.
    """
    return _read(path, Phase1Config, settings)


def read_phase2(path: Path, settings: Settings | None = None) -> Phase2Config:
    """Read a file of the form of `training/phase2.yml`; see `read_phase1`.

    Raises:
        ConfigError: It cannot be read, or a key is wrong.
    """
    return _read(path, Phase2Config, settings)


def _read(path: Path, model: type[Recipe], settings: Settings | None) -> Recipe:
    settings = settings if settings is not None else Settings.load()
    document, problems = read_document(path)
    if isinstance(document.data, dict):
        problems += render_document(document, settings).values()
        config, more = validate(document, model)
        if config is not None and not problems:
            return config
        problems += [problem for problem in more if problem not in problems]
    elif not problems:
        problems.append(
            document.problem((), "must be a mapping of keys to values.", "Write lines such as `epochs: 50`.")
        )
    secrets = settings.secrets()
    raise ConfigError([redact(problem, secrets) for problem in problems])


def write_phase1(path: Path, config: Phase1Config, *, note: str = "") -> None:
    """Write a recipe so that it can take the place of `training/phase1.yml`.

    Args:
        path: The file; it is replaced at once.
        config: The recipe.
        note: Where the numbers come from; a comment of the file.

    Raises:
        StorageError: It cannot be written.
    """
    comment = "".join(f"# {line}\n" for line in note.splitlines())
    # As plain as people write them: 1.0e-4 is a number to YAML 1.1 only with its point.
    body = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(_HEAD + comment + body, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror}.", path=str(path), remedy="Check the disk and its permissions."
        ) from error
