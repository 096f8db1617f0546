"""What a checkpoint says of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from orchestai.contracts.base import Record

FORMAT = 1


class ManifestFields(Record):
    """What the maker of a checkpoint knows of it.

    Attributes:
        kind: What it holds: `phase1`, `phase2`, ...
        data_hash: Hash of the data that it was trained on.
        seed: Seed of the training.
        metrics: What was measured, by name.
        parents: Digests of the checkpoints that it was made from.
        history: One row an epoch.
        notes: Anything else worth keeping.
    """

    kind: str
    data_hash: str = ""
    seed: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    parents: tuple[str, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    notes: dict[str, Any] = Field(default_factory=dict)


class Manifest(ManifestFields):
    """The maker's facts, and what saving adds.

    Attributes:
        format: Version of the layout.
        created: When it was saved, UTC.
        code_version: Version of the package that saved it.
        files: sha256 by file name.
    """

    format: int = FORMAT
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    code_version: str
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """Identity of the content: hash over the hashes of the files."""
        import hashlib

        lines = "\n".join(f"{name} {sha}" for name, sha in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()
