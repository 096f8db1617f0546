"""Selects the target of `profiles.yml` and lays it over `project.yml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from orchestai.config.document import Document, KeyPath
from orchestai.config.problems import suggest, validate
from orchestai.config.profiles import ProfileConfig, ProjectFile, Sections, TargetConfig
from orchestai.config.rendering import render_document
from orchestai.config.settings import Settings
from orchestai.errors import ConfigProblem


@dataclass(frozen=True)
class Selection:
    """The target in use.

    Attributes:
        document: `profiles.yml`.
        key: Where the target stands there.
        target: Its name.
        config: What it says.
    """

    document: Document
    key: KeyPath
    target: str
    config: TargetConfig


def select_target(
    document: Document, profile: str, target: str | None, settings: Settings
) -> tuple[Selection | None, list[ConfigProblem]]:
    """Return the target to use; the others are checked too, but for variables that only they need."""
    unset = render_document(document, settings)
    data = document.data
    if profile not in data:
        message = f"has no profile {profile!r}, which project.yml names."
        return None, [document.problem((), message, suggest(profile, data))]
    body = data[profile] if isinstance(data[profile], dict) else {}
    targets = _targets(body)
    name = str(target or body.get("target") or "dev")
    selected = (profile, "targets", name)
    unused = {(other, "targets", each) for other in data for each in _targets(data[other])} - {selected}
    problems = [problem for key, problem in unset.items() if key[:3] not in unused]
    for each in data:
        problems.extend(validate(document, ProfileConfig, (each,))[1])
    if name not in targets:
        key: KeyPath = (profile, "targets") if target else (profile, "target")
        problems.append(document.problem(key, f"has no target {name!r}.", suggest(name, targets)))
        return None, problems
    # By itself, for the whole profile is no value when a target that is not in use lacks a variable.
    config, _ = validate(document, TargetConfig, selected)
    return (Selection(document, selected, name, config) if config else None), problems


def merge_target(base: ProjectFile, selection: Selection) -> tuple[Sections | None, list[ConfigProblem]]:
    """Lay what the target says over what the project says, key by key."""
    sections = {name: getattr(base, name) for name in Sections.model_fields}
    problems: list[ConfigProblem] = []
    for name in sections:
        changes = getattr(selection.config, name).model_dump(exclude_unset=True)
        if not changes:
            continue
        merged = _merge(sections[name].model_dump(), changes)
        try:
            sections[name] = type(sections[name]).model_validate(merged)
        except ValidationError as error:
            problems.extend(
                selection.document.problem(
                    (*selection.key, name),
                    f"together with project.yml: {item['msg'].removeprefix('Value error, ')}",
                )
                for item in error.errors(include_url=False)
            )
    return (None if problems else Sections(**sections)), problems


def _targets(profile: Any) -> list[str]:
    targets = profile.get("targets") if isinstance(profile, dict) else None
    return list(targets) if isinstance(targets, dict) else []


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
