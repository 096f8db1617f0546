"""Small JSON files, replaced at once so that nobody reads half of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestai.errors import DataError, StorageError


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", remedy="Delete it and make it again.") from error


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file at once.

    Raises:
        StorageError: It cannot be written; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror}.", path=str(path), remedy="Check the disk and its permissions."
        ) from error
