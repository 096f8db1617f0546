"""Gradient pathology: rows that would pull a model elsewhere than the reference's rows do.

Kolmogorov-Smirnov distance of exact per-row gradient norms, each by a network that never saw the row. The gradient
noise scale (McCandlish et al. 2018, arXiv:1812.06162) is told, not scored: its sampling error is as large as it is.
"""

from __future__ import annotations

import numpy as np

from orchestai.validation.calibrate import calibrated
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array

_LEAST_MOVED = 0.1
_LEAST_WORST = 0.5
"""A model that hardly depends on its columns hardly moves when they are shuffled; its noise must not be magnified."""


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return how far the gradient norms moved."""
    if "gradient" not in given.table.marks or given.table.gradient is None or given.reference.gradient is None:
        return [], {}
    reference = given.reference_summary.marks["gradient"]
    value = float(kolmogorov_smirnov(given.table_summary.marks["gradient"], reference))
    null = kolmogorov_smirnov(given.null_tables.marks["gradient"], given.null_references.marks["gradient"])
    worst = float(kolmogorov_smirnov(given.destroyed.marks["gradient"], reference))
    detail: dict[str, object] = {
        "mean_norm": float(given.table.gradient.mean()),
        "mean_norm_reference": float(given.reference.gradient.mean()),
        "tail_share": _tail_share(given.table.gradient),
        "tail_share_reference": _tail_share(given.reference.gradient),
    }
    if worst < _LEAST_MOVED:  # even shuffled columns leave the norms as they are: the model learned nothing
        return [], {**detail, "norms_after_destruction": worst}
    return [calibrated("moved gradient norms", value, null, max(worst, _LEAST_WORST))], detail


def kolmogorov_smirnov(table: Array, reference: Array) -> Array:
    """Return the largest difference of the distribution functions of binned scores (...,)."""
    return np.asarray(np.abs(np.cumsum(table - reference, axis=-1)).max(-1))


def _tail_share(norms: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
    """Return the share of all squared gradient that the largest hundredth of the rows holds."""
    squares = np.sort(np.square(norms.astype(np.float64)))
    return float(squares[-max(len(squares) // 100, 1) :].sum() / max(squares.sum(), 1e-12))
