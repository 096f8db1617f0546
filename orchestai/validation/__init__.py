"""Is a table fit to learn from.

Two ways to ask: declared suites for the project's own tables (`validate_table`), and the six-stage gate for any table
(`DatasetValidator`), which is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestai.validation.report import (
    DuplicateStats,
    Gate,
    LabelBalance,
    ValidationReport,
    ValidationThresholds,
)
from orchestai.validation.table import read_table, validate_table

if TYPE_CHECKING:
    from orchestai.validation.result import ValidationResult
    from orchestai.validation.settings import GateSettings
    from orchestai.validation.validator import DatasetValidator

__all__ = [
    "DatasetValidator",
    "DuplicateStats",
    "Gate",
    "GateSettings",
    "LabelBalance",
    "ValidationReport",
    "ValidationResult",
    "ValidationThresholds",
    "read_table",
    "validate_table",
]

_LATE = {
    "DatasetValidator": "orchestai.validation.validator",
    "GateSettings": "orchestai.validation.settings",
    "ValidationResult": "orchestai.validation.result",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)
