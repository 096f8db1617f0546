"""Types that were never trained: what text says of them, on the scale of what training says of the others.

A network that knows some types and not others prefers those it knows: they have a learned part and word scores
beside their description. Zero-shot scores have the same bias and the same kind of remedy (calibrated stacking,
arXiv:1605.04253): put both on one scale before they compete. Here a new type stands as many deviations above the
mean of what the network says of the trained types as its text stands above the mean of all texts. Where all types
are trained, nothing here runs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orchestai.contracts import TaskCatalog
from orchestai.embeddings.protocol import TextEncoder

_OVERLAP = 0.6
"""Weight of words in common beside the two similarities."""

_LEAST = 1e-6

Array = npt.NDArray[np.float32]


class TextScores:
    """How near an instruction is to each type of a catalog, by text alone.

    Descriptions of a catalog often share most of their words, names do not: both are compared, and the words in common.

    Args:
        tasks: The catalog.
        descriptions: [K, H] embeddings of the described types.
        describer: What made them.
    """

    def __init__(self, tasks: TaskCatalog, descriptions: Array, describer: TextEncoder) -> None:
        names = describer.encode([kind.name.replace("_", " ") for kind in tasks.types])
        self._texts = np.stack([descriptions, names])  # (2, K, H)

    def __call__(self, embeddings: Array, overlap: Array) -> Array:
        """Return standard scores over the types: [B, K].

        Args:
            embeddings: [B, H] of the instructions, pooled.
            overlap: [B, K] how much of each type's description the instruction repeats.
        """
        near = embeddings @ self._texts.transpose(0, 2, 1)  # (2, B, K)
        parts = np.stack([*near, overlap])
        spread = np.maximum(parts.std(axis=-1, keepdims=True), _LEAST)
        described, named, shared = (parts - parts.mean(axis=-1, keepdims=True)) / spread
        return np.asarray((described + named + _OVERLAP * shared) / 2, dtype=np.float32)


def judge_by_text(presence: Tensor, text: Tensor, new: Tensor) -> Tensor:
    """Replace the logit that a new type occurs by its text's score, on the scale of the trained types' logits.

    Args:
        presence: [..., K, 2] logits of: occurs at all, occurs again.
        text: [..., K] standard scores, weighed.
        new: [K] true for types that were never trained; fewer than two others are no scale, and nothing is changed.
    """
    trained = presence[..., ~new, 0]
    if trained.shape[-1] < 2:
        return presence
    spread, mean = torch.std_mean(trained, dim=-1, keepdim=True, correction=0)
    first = torch.where(new, mean + spread * text, presence[..., 0])
    return torch.stack([first, presence[..., 1]], dim=-1)
