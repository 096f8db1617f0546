"""Spectral degradation: directions of the reference along which the table varies no more, or far too much.

In the space where the reference is white, the table's covariance has eigenvalues near 1; the loss is one minus the
geometric mean of `min(v, 1/v)`: noise that swells the weak directions degrades the spectrum as a loss does (kernel
density copies swell before they shrink). Beside it the effective rank of Roy & Vetterli 2007, as a ratio.
"""

from __future__ import annotations

import numpy as np

from orchestai.validation.calibrate import calibrated
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array

FLOOR = 1e-3
"""An eigenvalue below this is a lost direction; the logarithm of nothing has no end."""


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return the lost eigenvalues and the lost effective rank."""
    table, reference = given.table_summary.moment, given.reference_summary.moment
    axes = reference.shape[-1]
    if axes < 2 or given.table.rows <= axes:
        return [], {"axes": axes}
    null_table, null_reference = given.null_tables.moment, given.null_references.moment
    rank, table_rank = float(effective_rank(reference)), float(effective_rank(table))
    rows = (given.table.rows,)
    rank_null = given.healthy(
        "lost effective rank", rows, lambda _: 1 - effective_rank(null_table) / effective_rank(null_reference)
    )
    detail: dict[str, object] = {"axes": axes, "effective_rank": table_rank, "effective_rank_reference": rank}
    return [
        calibrated(
            "lost eigenvalues",
            float(lost_eigenvalues(table, reference)),
            given.healthy("lost eigenvalues", rows, lambda _: lost_eigenvalues(null_table, null_reference)),
            1 - FLOOR ** ((axes - 1) / axes),  # one direction is left
            family=2,
        ),
        calibrated("lost effective rank", 1 - table_rank / rank, rank_null, 1 - 1 / rank, family=2),
    ], detail


def lost_eigenvalues(table: Array, reference: Array) -> Array:
    """Return one minus the geometric mean of `min(v, 1/v)` over the eigenvalues v of reference^-1 table (...,)."""
    axes = reference.shape[-1]
    ridge = 1e-6 * np.trace(reference, axis1=-2, axis2=-1)[..., None, None] / axes * np.eye(axes)
    lower = np.linalg.cholesky(reference + ridge)
    half = np.linalg.solve(lower, table)
    white = np.linalg.solve(lower, np.swapaxes(half, -1, -2))
    values = np.linalg.eigvalsh((white + np.swapaxes(white, -1, -2)) / 2).clip(FLOOR, 1 / FLOOR)
    values = np.minimum(values, 1 / values)
    return np.asarray(1 - np.exp(np.log(values).mean(-1)))


def effective_rank(moment: Array) -> Array:
    """Return the exponential of the entropy of the normalised eigenvalues (...,)."""
    values = np.linalg.eigvalsh(moment).clip(1e-12)
    shares = values / values.sum(-1, keepdims=True)
    return np.asarray(np.exp(-(shares * np.log(shares)).sum(-1)))
