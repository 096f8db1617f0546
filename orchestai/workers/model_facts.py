"""Prices and capabilities of models by name or pattern: what no list of models says."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from orchestai.contracts import Modality, WorkerCatalog
from orchestai.contracts.base import Record
from orchestai.errors import ConfigError, ConfigProblem


class ModelFacts(Record):
    """What is known of the models whose name fits `match`; null means not known.

    Attributes:
        match: Name of a model, or a pattern with `*`, `?` and `[...]`; case does not matter.
        description: What it is good at, in words; the planner reads this.
        modalities: Calls that it answers.
        input_usd_per_mtok: Dollars a million input tokens.
        output_usd_per_mtok: Dollars a million output tokens.
        typical_latency_ms: What to expect of one answer.
        context_tokens: The most that it reads.
        max_concurrency: Calls at a time.
        timeout_s: Time allowed for one call.
    """

    match: str = Field(min_length=1)
    description: str | None = Field(default=None, min_length=1)
    modalities: tuple[Modality, ...] | None = Field(default=None, min_length=1)
    input_usd_per_mtok: float | None = Field(default=None, ge=0)
    output_usd_per_mtok: float | None = Field(default=None, ge=0)
    typical_latency_ms: float | None = Field(default=None, ge=0)
    context_tokens: int | None = Field(default=None, ge=1)
    max_concurrency: int | None = Field(default=None, ge=1)
    timeout_s: float | None = Field(default=None, gt=0)


class _File(Record):
    models: tuple[ModelFacts, ...] = ()


def read_model_facts(path: Path) -> tuple[ModelFacts, ...]:
    """Read a YAML file whose `models` is a list of facts.

    Raises:
        ConfigError: It cannot be read, or holds something else; all problems are named.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([ConfigProblem(str(path), None, "models", f"cannot be read: {error}.")]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise ConfigError([ConfigProblem(str(path), line, "models", "is not YAML.")]) from error
    try:
        return _File.model_validate(loaded if loaded is not None else {}).models
    except ValidationError as error:
        problems = [
            ConfigProblem(str(path), None, ".".join(map(str, each["loc"])) or "models", f"{each['msg']}.")
            for each in error.errors()
        ]
        raise ConfigError(problems) from error


def facts_of_workers(catalog: WorkerCatalog) -> tuple[ModelFacts, ...]:
    """Return what the project's own workers say of their models; simulated ones tell nothing of real models."""
    return tuple(
        ModelFacts(
            match=glob.escape(worker.model),
            **{field: getattr(worker, field) for field in worker.model_fields_set & _SHARED},
        )
        for worker in catalog.profiles()
        if not worker.simulated
    )


_SHARED = ModelFacts.model_fields.keys() - {"match"}


def known_of(model: str, facts: Iterable[ModelFacts]) -> dict[str, Any]:
    """Return the known fields of `model`: those of its exact name first, then of each pattern in order."""
    lowered = model.lower()
    fitting = [each for each in facts if fnmatch.fnmatchcase(lowered, each.match.lower())]
    exact = (lowered, glob.escape(lowered))
    fitting.sort(key=lambda each: each.match.lower() not in exact)
    merged: dict[str, Any] = {}
    for each in fitting:
        for field in _SHARED:
            value = getattr(each, field)
            if value is not None:
                merged.setdefault(field, value)
    return merged
