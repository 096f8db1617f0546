"""Is a table fit to learn from: schema, expectations, duplicates, label balance and the verdict."""

from __future__ import annotations

from orchestai.validation.report import (
    DuplicateStats,
    Gate,
    LabelBalance,
    ValidationReport,
    ValidationThresholds,
)
from orchestai.validation.table import read_table, validate_table

__all__ = [
    "DuplicateStats",
    "Gate",
    "LabelBalance",
    "ValidationReport",
    "ValidationThresholds",
    "read_table",
    "validate_table",
]
