"""Is a table fit to learn from.

Two ways to ask: declared suites for the project's own tables (`validate_table`), and the six-stage gate for any table
(`DatasetValidator`). Each is loaded when it is first used: the process that reads a file starts with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestai.validation.report import (
        DuplicateStats,
        Gate,
        LabelBalance,
        ValidationReport,
        ValidationThresholds,
    )
    from orchestai.validation.result import ValidationResult
    from orchestai.validation.settings import GateSettings
    from orchestai.validation.table import read_table, validate_table
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
    "DuplicateStats": "orchestai.validation.report",
    "Gate": "orchestai.validation.report",
    "GateSettings": "orchestai.validation.settings",
    "LabelBalance": "orchestai.validation.report",
    "ValidationReport": "orchestai.validation.report",
    "ValidationResult": "orchestai.validation.result",
    "ValidationThresholds": "orchestai.validation.report",
    "read_table": "orchestai.validation.table",
    "validate_table": "orchestai.validation.table",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)
