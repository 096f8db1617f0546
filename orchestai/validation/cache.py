"""Results by content: the same bytes with the same settings are not judged twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from orchestai.errors import StorageError
from orchestai.logs.files import write_file
from orchestai.validation.result import ValidationResult
from orchestai.validation.settings import GateSettings

VERSION = 3
"""Raise it when results change for the same input."""


class ResultCache:
    """Results as JSON files, one an entry, replaced atomically; a damaged entry is as good as none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> ValidationResult | None:
        """Return what is kept under `key`."""
        try:
            text = (self._folder / f"{key}.json").read_text(encoding="utf-8")
            return ValidationResult.model_validate_json(text).model_copy(update={"from_cache": True})
        except (OSError, UnicodeDecodeError, ValidationError):
            return None

    def put(self, key: str, result: ValidationResult) -> None:
        """Keep a result; a full disk does not fail the validation."""
        if result.partial:
            return
        try:
            write_file(self._folder / f"{key}.json", result.model_dump_json().encode())
        except StorageError:
            return


def cache_key(
    hashes: dict[str, str | None], settings: GateSettings, label: str | None, order: str | None, format: str | None
) -> str:
    """Return the key of a validation: all content, all settings, and the version of the gate."""
    parts = {
        "version": VERSION,
        "hashes": hashes,
        "settings": settings.model_dump(mode="json"),
        "label": label,
        "order": order,
        "format": format,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
