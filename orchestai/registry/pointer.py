"""The pointer file: a copy of what the registry says is to be served, for processes that serve.

MLflow holds the truth. The copy lets a service start, and go on, without the registry and without loading MLflow.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from orchestai.config import Project
from orchestai.contracts.base import Record
from orchestai.errors import DataError
from orchestai.logs.files import write_file
from orchestai.registry.records import Release

NOTE = "A copy of the aliases that the registry holds; edit nothing here: the next change overwrites it."


class PointedVersion(Record):
    """A version that may be served.

    Attributes:
        version: Number in the registry.
        digest: Hash of its content.
        folder: Where its checkpoints lie.
    """

    version: str
    digest: str
    folder: Path


class ServingPointer(Record):
    """What is to be served.

    Attributes:
        note: For people who open the file.
        format: Version of the format.
        registry: Where the truth is.
        model: Name of the registered model.
        revision: State of the registry that was copied.
        synced: When, UTC.
        champion: Served by default; null until there is one.
        challenger: The other side of the release of a model.
        holdback: What the former champion is, while a release holds back for it.
        releases: Releases that go on, by subject.
        prompts: Prompts that took over from the active ones of the configuration, by task type.
    """

    note: str = NOTE
    format: Literal[1] = 1
    registry: str
    model: str
    revision: str
    synced: datetime
    champion: PointedVersion | None = None
    challenger: PointedVersion | None = None
    holdback: PointedVersion | None = None
    releases: dict[str, Release] = Field(default_factory=dict)
    prompts: dict[str, str] = Field(default_factory=dict)

    def version(self, number: str) -> PointedVersion | None:
        """Return one of the versions by its number."""
        for found in (self.champion, self.challenger, self.holdback):
            if found is not None and found.version == number:
                return found
        return None


def registry_state(project: Project) -> Path:
    """Return the folder of the pointer file and of the lock."""
    return project.paths.state / "registry"


def pointer_file(project: Project) -> Path:
    """Return the pointer file."""
    return registry_state(project) / "serving.json"


def read_pointer(project: Project) -> ServingPointer | None:
    """Return what is to be served, or None if nothing was ever registered here.

    Raises:
        DataError: The file is garbled.
    """
    path = pointer_file(project)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return ServingPointer.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"{path} is not a pointer file of this version ({error.error_count()} wrong fields).",
            remedy="`orchestai models list` writes it anew from the registry.",
        ) from error


def write_pointer(project: Project, pointer: ServingPointer) -> None:
    """Replace the pointer file, at once and durably.

    Raises:
        StorageError: The disk refuses; the old one stays.
    """
    write_file(pointer_file(project), pointer.model_dump_json(indent=2).encode() + b"\n")
