"""Each described type attends over the instruction's tokens: does it occur, where, in what context?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestai.planner.dropout import Dropout, random_bytes
from orchestai.planner.hints import FEATURES
from orchestai.planner.shapes import DescribedTypes, EncodedInstructions, Evidence

_TOGETHER = 8
"""Rows that attend together."""

_BARRED = -1e4
"""Score of a padded token."""


class TypeEmbedding(nn.Module):
    """Embedding of a described type: a map of its description plus a learned part.

    The learned part starts at zero and is absent for types that were never trained, so a new type is
    judged by its description alone. In training it is dropped now and then, which keeps the
    description's map useful by itself.

    Args:
        hidden_size: Width of the descriptions' embeddings.
        size: Width of the result.
        trained: Number of types with a learned part.
        drop: Share of types whose learned part is dropped in training.
    """

    def __init__(self, hidden_size: int, size: int, trained: int, drop: float = 0.1) -> None:
        super().__init__()
        self.describe = nn.Linear(hidden_size, size)
        self.learned = nn.Embedding(trained + 1, size, padding_idx=trained)
        nn.init.zeros_(self.learned.weight)
        self.drop = drop

    def forward(self, types: DescribedTypes) -> Tensor:
        """Return [K, size]."""
        learned = self.learned(types.rows)  # (K, size)
        if self.training and self.drop > 0:
            kept = random_bytes(torch.Size([len(learned), 1])) >= round(256 * self.drop)
            learned = learned * kept.to(learned.device)
        # Pooled vectors have unit length: scale to unit variance a coordinate.
        scale = types.descriptions.shape[-1] ** 0.5
        return self.describe(types.descriptions * scale) + learned


class TypeEvidence(nn.Module):
    """Multi-head attention with one query a type (arXiv:1706.03762 eq. 1), and presence logits on top.

    Args:
        hidden_size: Width H of tokens and descriptions.
        size: Width D of a context.
        heads: Attention heads.
        trained: Number of trained types.
        dropout: On tokens and contexts.
    """

    def __init__(self, hidden_size: int, size: int, heads: int, trained: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.queries = TypeEmbedding(hidden_size, size, trained)
        self.outputs = TypeEmbedding(hidden_size, 2 * size, trained)
        self.keys = nn.Linear(hidden_size, size)
        self.values = nn.Linear(hidden_size, size)
        self.norm = nn.LayerNorm(size)
        self.shared = nn.Linear(size, 2)
        self.bias = nn.Embedding(trained + 1, 2, padding_idx=trained)
        self.hints = nn.Linear(FEATURES, 2)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.bias.weight)
        with torch.no_grad():
            self.hints.weight.copy_(torch.tensor([[5.0, 1.0, 0.5, 2.0], [2.0, 0.0, 0.0, 0.0]]))
            self.hints.bias.copy_(torch.tensor([-2.5, -3.0]))

    def tables(self, types: DescribedTypes) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [K, D], outputs [K, 2 * D] and bias [K, 2] of the types."""
        return self.queries(types), self.outputs(types), self.bias(types.rows)

    def forward(self, encoded: EncodedInstructions, tables: tuple[Tensor, Tensor, Tensor], hints: Tensor) -> Evidence:
        """Return the evidence.

        Args:
            encoded: The instructions.
            tables: Queries, outputs and bias of the types.
            hints: [B, K, FEATURES].
        """
        wanted, read, bias = tables
        found, positions = self._attend(encoded, wanted)
        contexts = self.dropout(self.norm(found))  # (B, K, D)
        outputs = read.view(len(read), 2, self.size) / self.size**0.5 + self.shared.weight  # (K, 2, D)
        presence = (
            torch.einsum("bkd,kod->bko", contexts, outputs) + (self.shared.bias + bias) + self.hints(hints)
        )  # (B, K, 2)
        return Evidence(presence=presence, contexts=contexts, positions=positions)

    def _attend(self, encoded: EncodedInstructions, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """What each type reads [B, K, D], and where, from 0 to 1 [B, K].

        The weights [B, heads, K, T] are by far the largest tensor of the planner. So the mask enters the scores as
        one more coordinate of the keys, the places are read as one more of the values, and a few rows are taken
        together, padded to the longest of them: each saves passes over the weights, in both directions. Who
        gives rows sorted by length gains most.
        """
        size = self.size // self.heads
        queries = wanted.view(len(wanted), self.heads, size).transpose(0, 1) / size**0.5  # (h, K, d)
        queries = functional.pad(queries, (0, 1), value=1.0)  # (h, K, d + 1)
        packed = pack_tokens(encoded, self.dropout, self.keys, self.values)  # (N, 2 * D)
        masks = encoded.mask.split(_TOGETHER)
        read = []
        for mask, tokens in zip(masks, packed.split([int(mask.sum()) for mask in masks]), strict=True):
            lengths = mask.sum(dim=1, keepdim=True)
            mask = mask[:, : int(lengths.max())]  # (b, t)
            keys, values = unpack_tokens(tokens, mask).unflatten(2, (2, self.heads, size)).permute(2, 0, 3, 1, 4)
            barred = torch.where(mask, 0.0, _BARRED)
            places = torch.arange(mask.shape[1], device=mask.device) / lengths
            scores = queries.to(keys.dtype) @ _widened(keys, barred).transpose(2, 3)  # (b, h, K, t)
            read.append(scores.softmax(dim=-1) @ _widened(values, places))  # (b, h, K, d + 1)
        contexts, positions = torch.cat(read).split([size, 1], dim=-1)  # (B, h, K, d), (B, h, K, 1)
        return contexts.transpose(1, 2).flatten(2), positions.mean(dim=1).squeeze(-1)


def _widened(states: Tensor, last: Tensor) -> Tensor:
    """States [b, h, t, d] with one more coordinate, `last` [b, t], the same for all heads."""
    shape = (*states.shape[:3], 1)
    return torch.cat([states, last[:, None, :, None].to(states.dtype).expand(shape)], dim=-1)


def pack_tokens(encoded: EncodedInstructions, dropout: nn.Module, *layers: nn.Linear) -> Tensor:
    """Linear maps of the N tokens that are no padding, side by side: [N, sum of the maps' widths].

    Args:
        encoded: The instructions.
        dropout: On the states.
        layers: The maps.
    """
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return functional.linear(dropout(encoded.states[encoded.mask]), weight, bias)


def unpack_tokens(tokens: Tensor, mask: Tensor) -> Tensor:
    """Tokens [N, D] in their places [B, T, D], zero where padded."""
    padded = tokens.new_zeros(*mask.shape, tokens.shape[1])
    padded[mask] = tokens
    return padded
