"""Examples become rows, rows become batches; two rows composed are a new instruction with both plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from orchestai.embeddings.protocol import pad
from orchestai.planner.agreement import PlanShape
from orchestai.planner.shapes import EncodedInstructions
from orchestai.training.losses import Targets

UNKNOWN = -1


class Row(NamedTuple):
    """One example, ready for batching. T tokens, K types."""

    states: npt.NDArray[np.float16]  # (T, H)
    embedding: npt.NDArray[np.float32]  # (H,)
    hints: npt.NDArray[np.float32]  # (K, features)
    shape: PlanShape
    selections: tuple[int, ...]
    imitation: bool
    complexities: tuple[float, ...]


class Batch(NamedTuple):
    """What one step needs."""

    encoded: EncodedInstructions
    hints: torch.Tensor  # (B, K, features)
    targets: Targets


def compose(first: Row, second: Row, *, linked: bool, mean: npt.NDArray[np.float32]) -> Row:
    """One request after the other: tokens one after the other, both plans side by side.

    Args:
        first: What is asked first.
        second: What is asked next.
        linked: Whether the second plan waits for the last sub-task of the first, as in corpora of
            chains; else they are independent.
        mean: [K] mean ridge score, around which two half-matching texts add up.
    """
    size = len(first.shape.types)
    shifted = [tuple(parent + size for parent in parents) for parents in second.shape.parents]
    if linked:
        shifted = [parents or (size - 1,) for parents in shifted]
    embedding = first.embedding + second.embedding
    hints = np.maximum(first.hints, second.hints)
    # Both word vectors have unit length and little in common: their sum has length sqrt(2).
    hints[:, 0] = mean + (first.hints[:, 0] - mean + second.hints[:, 0] - mean) / np.sqrt(2.0)
    return Row(
        states=np.concatenate([first.states, second.states]),
        embedding=embedding / max(float(np.linalg.norm(embedding)), 1e-9),
        hints=hints,
        shape=PlanShape(first.shape.types + second.shape.types, (*first.shape.parents, *shifted)),
        selections=first.selections + second.selections,
        imitation=first.imitation or second.imitation,
        complexities=first.complexities + second.complexities,
    )


def by_length(rows: Sequence[Row]) -> list[Row]:
    """Rows with as many tokens next to each other: the network pads a few of them at a time."""
    return sorted(rows, key=lambda row: len(row.states))


def make_batch(rows: Sequence[Row], device: torch.device) -> Batch:
    """Pad and stack."""
    tokens = pad([row.states for row in rows], rows[0].states.shape[1])
    size = max(len(row.shape.types) for row in rows)
    kinds = rows[0].hints.shape[0]
    # Filled in numpy: thousands of small tensors a step cost as much as a layer.
    types = np.zeros((len(rows), size), dtype=np.int64)
    mask = np.zeros((len(rows), size), dtype=np.bool_)
    adjacency = np.zeros((len(rows), size, size), dtype=np.float32)
    selections = np.full((len(rows), size), UNKNOWN, dtype=np.int64)
    complexities = np.full((len(rows), size), -1.0, dtype=np.float32)
    counts = np.zeros((len(rows), kinds), dtype=np.float32)
    for index, row in enumerate(rows):
        length = len(row.shape.types)
        types[index, :length] = row.shape.types
        mask[index, :length] = True
        selections[index, :length] = row.selections
        complexities[index, :length] = row.complexities
        for child, parents in enumerate(row.shape.parents):
            for parent in parents:
                adjacency[index, parent, child] = 1.0
        for kind in row.shape.types:
            counts[index, kind] += 1
    encoded = EncodedInstructions(
        embeddings=torch.from_numpy(np.stack([row.embedding for row in rows])),
        states=torch.from_numpy(tokens.states),
        mask=torch.from_numpy(tokens.mask),
    )
    imitation = np.array([row.imitation for row in rows])
    targets = Targets(*map(torch.from_numpy, (types, mask, adjacency, selections, imitation, complexities, counts)))
    return Batch(
        encoded=EncodedInstructions(*(part.to(device) for part in encoded)),
        hints=torch.from_numpy(np.stack([row.hints for row in rows])).to(device),
        targets=Targets(*(part.to(device) for part in targets)),
    )
