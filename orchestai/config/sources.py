"""Where data come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestai.config.paths import LocalPath
from orchestai.contracts.base import Record


class FreshnessConfig(Record):
    """How old the newest data may be.

    Attributes:
        warn_after_hours: Age that is worth a warning.
        error_after_hours: Age that is an error.
    """

    warn_after_hours: float | None = Field(default=None, gt=0)
    error_after_hours: float | None = Field(default=None, gt=0)


class SourceConfig(Record):
    """One source.

    Attributes:
        name: Identifier.
        description: What it holds, in words.
        path: File or folder; a relative one lies under the home folder.
        format: How to read it.
        freshness: How old its newest data may be.
    """

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    path: LocalPath
    format: Literal["jsonl_segments", "jsonl", "parquet", "plans"]
    freshness: FreshnessConfig | None = None


class SourcesFile(Record):
    """One file of `sources/`.

    Attributes:
        sources: The sources, in order.
    """

    sources: tuple[SourceConfig, ...]
