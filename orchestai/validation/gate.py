"""The names of the six-stage gate that users need, in one place."""

from __future__ import annotations

from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import ValidationResult
from orchestai.validation.scoring import judge
from orchestai.validation.settings import GateSettings, PriceList
from orchestai.validation.source import Source
from orchestai.validation.validator import DatasetValidator

__all__ = [
    "DatasetValidator",
    "GateSettings",
    "PriceList",
    "ReferenceProfile",
    "Source",
    "ValidationResult",
    "judge",
]
