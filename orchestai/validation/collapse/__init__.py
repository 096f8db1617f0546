"""The eight dimensions of collapse, one file each, and their common call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestai.validation.collapse import (
    distribution_shift,
    diversity_loss,
    gradient_pathology,
    memorization,
    mode_collapse,
    pattern_repetition,
    quality_degradation,
    spectral_degradation,
)
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.settings import Dimension

Measured = tuple[Sequence[Reading | None], dict[str, object]]

MEASURES: dict[Dimension, Callable[[Comparison], Measured]] = {
    "mode_collapse": mode_collapse.measure,
    "spectral_degradation": spectral_degradation.measure,
    "gradient_pathology": gradient_pathology.measure,
    "distribution_shift": distribution_shift.measure,
    "diversity_loss": diversity_loss.measure,
    "memorization": memorization.measure,
    "quality_degradation": quality_degradation.measure,
    "pattern_repetition": pattern_repetition.measure,
}
"""Readings of each dimension, and figures beside them."""

NOTHING: dict[Dimension, str] = {
    "mode_collapse": "too few rows to tell a lost mode from chance",
    "spectral_degradation": "too few rows to estimate a covariance",
    "gradient_pathology": "no column can be predicted, or too few rows",
    "distribution_shift": "too few rows to tell a shift from chance",
    "diversity_loss": "too few rows to tell a loss from chance",
    "memorization": "needs a reference and a holdout that was not trained on",
    "quality_degradation": "too few rows to tell bad rows from chance",
    "pattern_repetition": "rows of this table repeat by nature, so that repetition tells nothing",
}
"""Why a dimension without any reading has none."""
