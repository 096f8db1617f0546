"""Scores of all eight dimensions for a table beside a reference."""

from __future__ import annotations

from orchestai.validation.calibrate import combined, dimension
from orchestai.validation.collapse import MEASURES, NOTHING
from orchestai.validation.compare import Comparison
from orchestai.validation.result import DimensionScore
from orchestai.validation.settings import GateSettings


def score_dimensions(given: Comparison, settings: GateSettings) -> dict[str, DimensionScore]:
    """Measure every dimension."""
    found: dict[str, DimensionScore] = {}
    for name, measure in MEASURES.items():
        readings, detail = measure(given)
        found[name] = dimension(
            readings,
            warn=settings.warn_threshold,
            critical=settings.critical_threshold,
            nothing=NOTHING[name],
            detail=detail,
        )
    return found


def collapse_score(dimensions: dict[str, DimensionScore]) -> float | None:
    """Return half the mean and half the worst of the measured dimensions."""
    return combined([found.score for found in dimensions.values() if found.score is not None])
