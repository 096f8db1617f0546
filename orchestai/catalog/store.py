"""`catalog.yml`: the described task types and workers of an imported data set, and the links of the types."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestai.contracts import TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.contracts.base import Record
from orchestai.errors import DataError, OrchestAIError, StorageError

CATALOG_FILE = "catalog.yml"

# The C versions read a catalog of thousands of types in a second instead of half a minute.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class ImportedCatalog(Record):
    """What an imported data set is about.

    Attributes:
        source: The kind of data set it came from.
        tasks: Its task types (tools, steps or task families), described, and the links between them.
        workers: Its workers with prices, if it is about workers.
    """

    source: str = ""
    tasks: TaskCatalog
    workers: WorkerCatalog | None = None


def read_catalog(path: Path) -> ImportedCatalog:
    """Read `catalog.yml`.

    Args:
        path: The file, or the folder that holds it.

    Raises:
        DataError: The file is missing, is not YAML, or is not a catalog; all problems are named at once.
    """
    file = path / CATALOG_FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            f"There is no catalog at {file}.",
            remedy=f"`orchestai import KIND DIR --out D` writes D/{CATALOG_FILE}.",
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror}.", path=str(file)) from error
    try:
        # yaml.load with a safe loader: the C twin of yaml.safe_load.
        body = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file} is not YAML: {error}") from error
    return _parse(body, file)


def write_catalog(path: Path, catalog: ImportedCatalog) -> Path:
    """Write `catalog.yml` under a temporary name and rename it.

    Args:
        path: The file, or an existing folder to write `catalog.yml` into.
        catalog: What to write.

    Raises:
        StorageError: The file cannot be written.
    """
    file = path / CATALOG_FILE if path.is_dir() else path
    body: dict[str, Any] = {
        "version": 1,
        "source": catalog.source,
        "task_types": [_lean(task_type) for task_type in catalog.tasks.types],
        "links": [list(pair) for pair in catalog.tasks.links],
    }
    if catalog.workers is not None:
        body["workers"] = [_lean(worker) for worker in catalog.workers.workers]
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            yaml.dump(body, stream, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(f"Cannot write {file}: {error.strerror}.", path=str(file)) from error
    return file


def _lean(record: TaskType | WorkerProfile) -> dict[str, Any]:
    kept = record.model_dump(mode="json", exclude_defaults=True)
    return {"name": record.name, **{key: value for key, value in kept.items() if key != "name"}}


def _parse(body: object, file: Path) -> ImportedCatalog:
    if not isinstance(body, dict):
        raise DataError(f"{file} must hold a mapping with `task_types`, got {type(body).__name__}.")
    unknown = sorted(str(key) for key in body.keys() - {"version", "source", "task_types", "links", "workers"})
    if unknown:
        raise DataError(
            f"{file} has unknown keys: {', '.join(unknown)}.",
            remedy="Known: version, source, task_types, links, workers.",
        )
    if body.get("version", 1) != 1:
        raise DataError(f"{file} has version {body['version']!r}; this program reads version 1.")
    fields: dict[str, Any] = {
        "source": body.get("source") or "",
        "tasks": {"types": body.get("task_types") or [], "links": body.get("links") or []},
    }
    if body.get("workers"):
        fields["workers"] = {"workers": body["workers"]}
    try:
        return ImportedCatalog.model_validate(fields)
    except ValidationError as error:
        problems = "\n".join(f"  {_place(entry['loc'])}: {entry['msg']}" for entry in error.errors())
        raise DataError(f"{file} is not a catalog:\n{problems}") from error
    except OrchestAIError as error:
        raise DataError(f"{file} is not a catalog: {error}") from error


def _place(location: tuple[int | str, ...]) -> str:
    names = {"tasks": "task_types", "types": "", "workers": "workers"}
    parts = [str(names.get(str(part), part)) for part in location]
    return ".".join(part for index, part in enumerate(parts) if part and (index == 0 or part != parts[index - 1]))
