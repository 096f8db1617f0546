"""What each seed gave is kept beside the report, so that a benchmark that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestai.errors import StorageError


class PartialResults:
    """A folder `<report>.parts/<hash of the question>/`: results by name, and checkpoints to go on with.

    The hash is of everything that decides the answer except for the code, so other data, options or recipes never
    meet each other's results. After a change of the code remove the folder.

    Args:
        out: The report.
        question: Data, options and recipe, as JSON knows them.
    """

    def __init__(self, out: Path, question: Mapping[str, Any]) -> None:
        text = json.dumps(question, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._folder = out.with_name(f"{out.stem}.parts") / digest[:16]

    def folder(self, name: str) -> Path:
        """Where a training called `name` keeps its checkpoint."""
        return self._folder / name

    def get(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the results called `name`: those on disk, else what `make` returns, which is kept.

        Raises:
            StorageError: They cannot be written.
        """
        path = self._folder / f"{name}.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # absent or torn: measure again
            found = make()
            temporary = path.with_suffix(".tmp")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(json.dumps(found), encoding="utf-8")
                temporary.replace(path)
            except OSError as error:
                raise StorageError(f"Cannot write {path}: {error.strerror}.", path=str(path)) from error
        return found
