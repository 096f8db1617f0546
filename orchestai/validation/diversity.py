"""Diversity from 0 to 100: how different rows are in meaning, in their columns' values, and in their structure.

With a reference each part is the share of the reference's that is left, so that healthy data have 100. Without one
it is a share of what the same columns could have: rows drawn column by column, all values equally frequent, all axes
equally strong.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from orchestai.validation.collapse.diversity_loss import kernel_diversity, mean_entropy
from orchestai.validation.collapse.spectral_degradation import effective_rank
from orchestai.validation.columns import OTHER
from orchestai.validation.encode import Encoder
from orchestai.validation.meaning import Meaning
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import DiversityScores
from orchestai.validation.states.table import TableState
from orchestai.validation.summary import Described, Summary, summarize


def measure_diversity(
    profile: ReferenceProfile,
    state: TableState,
    table: Described | None,
    *,
    with_reference: bool,
    meaning: Meaning | None = None,
) -> DiversityScores:
    """Return the three parts and their mean.

    Args:
        profile: The reference, or the table itself where there is none.
        state: State of the table.
        table: Its described sample; None where it has no geometry.
        with_reference: Whether `profile` is another table than `state`.
        meaning: How many different things the texts say, where there are texts.
    """
    counts = state.counts.sum(0).sum()
    statistical = _absolute_statistical(state, profile.encoder) if counts else 0.0
    distinct = 1.0 - state.exact.repeated_share()
    if table is None or profile.space is None or profile.described is None or profile.destroyed is None:
        return _together(None, statistical, None, {"distinct_rows": distinct, "reason": "too few rows or columns"})
    cells = profile.space.kinds
    mine = summarize(table, cells)
    kinds = {column.kind for column in profile.encoder.used}
    detail: dict[str, Any] = {
        "space": "scaled values and hashed words" if "text" in kinds else "scaled values",
        "distinct_rows": distinct,
        "effective_rows": float(kernel_diversity(mine.kernel, table.rows)),
        "effective_rank": float(effective_rank(mine.moment)) if mine.moment.shape[-1] else 0.0,
    }
    if meaning is not None:
        detail["texts"] = meaning.note
        detail |= {"effective_texts": meaning.table, "effective_texts_reference": meaning.reference}
    if not with_reference:
        mixed = summarize(profile.destroyed, cells)
        ceiling = math.log(max(float(kernel_diversity(mixed.kernel, mixed.rows)), 1.0 + 1e-6))
        semantic = 100 * min(1.0, math.log(detail["effective_rows"]) / ceiling)
        return _together(semantic, statistical, _absolute_structural(mine, distinct), detail)
    theirs = summarize(profile.described, cells)
    semantic = _share(detail["effective_rows"], float(kernel_diversity(theirs.kernel, theirs.rows)), start=1.0)
    if meaning is not None and meaning.table is not None and meaning.reference is not None:
        detail["space"] = "text embeddings and scaled values"
        semantic = (semantic + _share(meaning.table, meaning.reference, start=1.0)) / 2
    column_share = _share(
        float(mean_entropy(mine.columns, mine.rows)), float(mean_entropy(theirs.columns, theirs.rows))
    )
    rank = _share(detail["effective_rank"], float(effective_rank(theirs.moment)), start=1.0)
    # Repetition that is natural in the reference costs nothing.
    kept = min(1.0, distinct / max(1.0 - profile.state.exact.repeated_share(), 1e-9))
    kept = kept if state.rows <= profile.state.rows else max(kept, 1.0 - state.exact.repeated_share())
    return _together(semantic, column_share, rank * kept, detail)


def _together(
    semantic: float | None, statistical: float | None, structural: float | None, detail: dict[str, Any]
) -> DiversityScores:
    parts = [part for part in (semantic, statistical, structural) if part is not None]
    return DiversityScores(
        overall_score=sum(parts) / len(parts) if parts else None,
        semantic_diversity=semantic,
        statistical_diversity=statistical,
        structural_diversity=structural,
        detail=detail,
    )


def _share(value: float, reference: float, *, start: float = 0.0) -> float:
    """Return how much of the reference's diversity is left, in percent; `start` is that of a single row."""
    if reference - start <= 1e-9:
        return 100.0
    return 100.0 * float(np.clip((value - start) / (reference - start), 0.0, 1.0))


def _absolute_statistical(state: TableState, encoder: Encoder) -> float:
    """Return the mean share of the largest entropy that a column could have with its codes; constants have none."""
    shares = state.counts[:, : OTHER + 1] / np.maximum(state.counts.sum(1, keepdims=True), 1)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(1)
    levels = (shares > 0).sum(1)
    found = np.divide(entropy, np.log(levels.clip(2)), out=np.zeros_like(entropy), where=levels > 1)
    flat = sum(column.kind in ("constant", "empty") for column in encoder.columns)
    return 100.0 * float(found.sum() / max(len(found) + flat, 1))


def _absolute_structural(summary: Summary, distinct: float) -> float:
    axes = summary.moment.shape[-1]
    if axes < 2:
        return 100.0 * distinct
    return 100.0 * distinct * min(1.0, math.log(max(float(effective_rank(summary.moment)), 1.0)) / math.log(axes))
