"""Diversity loss: fewer effectively different rows than in the reference.

RKE (Jalali et al. 2023), the order-2 Vendi score: one over the mean squared kernel of pairs. Over random Fourier
features that mean is the squared length of the mean feature vector, so it merges and costs one pass. Order 2 does
not drift with the number of rows as the Vendi score of order 1 does. Beside it the entropy of the columns, and how
many different values the columns of numbers have left.
"""

from __future__ import annotations

import numpy as np

from orchestai.validation.calibrate import calibrated
from orchestai.validation.compare import Comparison
from orchestai.validation.distinct import healthy_losses, lost_values, number_features
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return the share of effectively different rows, and of column entropy, that is lost."""
    rows, reference_rows = given.table.rows, given.reference.rows
    value = float(kernel_diversity(given.table_summary.kernel, rows))
    reference = float(kernel_diversity(given.reference_summary.kernel, reference_rows))
    null = given.healthy(
        "lost kernel diversity",
        (rows,),
        lambda _: (
            1
            - kernel_diversity(given.null_tables.kernel, rows)
            / kernel_diversity(given.null_references.kernel, reference_rows)
        ),
    )
    entropy, entropy_reference = (
        float(mean_entropy(summary.columns, summary.rows)) for summary in (given.table_summary, given.reference_summary)
    )
    entropy_null = given.healthy(
        "lost column entropy",
        (rows,),
        lambda _: (
            1
            - mean_entropy(given.null_tables.columns, rows)
            / mean_entropy(given.null_references.columns, reference_rows)
        ),
    )
    detail: dict[str, object] = {"rke": value, "rke_reference": reference, "column_entropy": entropy}
    entropy_reading = (
        calibrated("lost column entropy", 1 - entropy / entropy_reference, entropy_null, 1.0, family=3)
        if entropy_reference > 0
        else None
    )
    return [
        calibrated("lost kernel diversity", 1 - value / reference, null, 1 - 1 / reference, family=3),
        entropy_reading,
        _lost_values(given),
    ], detail


def _lost_values(given: Comparison) -> Reading | None:
    table, reference = given.table_state.sample.rows, given.reference_state.sample.rows
    assert table is not None
    assert reference is not None
    numbers = number_features(given.encoder)
    known = reference.features[:, numbers]
    value = lost_values(table.features[:, numbers], known)
    if value is None:
        return None
    rows = len(table.features)
    null = given.healthy("lost values", (rows,), lambda rng: healthy_losses(known, rows, rng))
    return calibrated("lost values", value, null, 1.0, family=3)


def kernel_diversity(kernel: Array, rows: int) -> Array:
    """Return one over the mean kernel of pairs of different rows (...,), at least 1."""
    together = np.square(kernel).sum(-1)
    pairs = (rows * together - 1) / max(rows - 1, 1)
    return np.asarray(1 / np.clip(pairs, 1e-4, 1.0))


def mean_entropy(columns: Array, rows: int) -> Array:
    """Return the mean Shannon entropy of the columns' codes in nats (...,).

    With the correction of Miller & Madow 1955, `(levels - 1) / 2n`: few rows show too little entropy.
    """
    logs = np.log(columns, out=np.zeros_like(columns), where=columns > 0)
    correction = ((columns > 0).sum(-1) - 1) / (2 * max(rows, 1))
    return np.asarray((correction - (columns * logs).sum(-1)).mean(-1))
