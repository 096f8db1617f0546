"""Trains the cascade on the table that is judged, for out-of-fold opinions about its own labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from orchestai.validation.accumulate import pieces
from orchestai.validation.cascade import TIERS, Cascade
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import CascadeReport
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source
from orchestai.validation.states.table import SampleRows, TableState, encode_rows

_FEWEST = 30


def train_on_table(
    profile: ReferenceProfile,
    state: TableState,
    settings: GateSettings,
    *,
    source: Source,
    piece: range | None,
    own: bool,
    gpu_memory_fraction: float,
    mixed_precision: bool,
) -> tuple[Cascade | None, CascadeReport | None]:
    """Train all eighteen models on the table's sample.

    Args:
        profile: The reference, which knows the target.
        state: The table.
        settings: Sizes.
        source: Its rows: all of them are learned from if they are not too many and there is a label.
        piece: Only these rows of `source`.
        own: `profile` was made from this very table, and its cascade serves.
        gpu_memory_fraction: Share of a GPU's memory that may be used.
        mixed_precision: Whether a GPU computes in bfloat16.

    Returns:
        The cascade and its report; None twice where no column can be predicted or the rows are too few.
    """
    target, rows = profile.target, state.sample.rows
    if target is None or rows is None or len(rows.codes) < _FEWEST or not rows.features.shape[1]:
        return None, None
    index = state.sample.index
    if len(index) < state.rows <= settings.cascade_rows and target.kind != "self-supervised":
        index, rows = _all_rows(source, profile, piece)
    inputs, classes = target.inputs(rows.features), target.classes_of(rows.codes)
    if len(np.unique(classes[classes >= 0])) < 2:
        return None, None
    cascade = profile.cascade if own and len(index) == len(state.sample.index) else None
    if cascade is None:
        cascade = Cascade(inputs.shape[1], target.classes, seed=settings.seed, device=device(gpu_memory_fraction))
        cascade.mixed_precision = mixed_precision
        cascade.fit(inputs, classes, index)
    found = cascade.predict(inputs, classes, index)
    known = classes >= 0
    right = found.probabilities.argmax(1)[known] == classes[known]
    report = CascadeReport(
        models_per_tier={tier.name: tier.models for tier in TIERS},
        parameters=cascade.parameters,
        target=target.column.name,
        target_kind=target.kind,
        classes=target.classes,
        accuracy=float(right.mean()),
        baseline=float(np.bincount(classes[known]).max() / known.sum()),
        rows=len(classes),
        training_time=cascade.seconds,
    )
    return cascade, report


def _all_rows(source: Source, profile: ReferenceProfile, piece: range | None) -> tuple[NDArray[np.int64], SampleRows]:
    parts, index = [], []
    for offset, batch in pieces(source, piece):
        places = np.arange(batch.num_rows)
        parts.append(encode_rows(profile.encoder, batch, places))
        index.append(places + offset)
    return np.concatenate(index), parts[0].concat(parts[1:])


def device(gpu_memory_fraction: float) -> torch.device:
    """Return the GPU, held to its share of memory, or the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_per_process_memory_fraction(gpu_memory_fraction)
    return torch.device("cuda")
