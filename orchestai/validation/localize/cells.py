"""Single values that do not fit: by the table's own dependencies, spellings, formats and ranges."""

from __future__ import annotations

from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import CellProblem
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source


def find_cells(
    source: Source, profile: ReferenceProfile, settings: GateSettings, *, rows: range | None = None
) -> tuple[CellProblem, ...]:
    """Return the values that do not fit."""
    return ()
