"""Each described type attends over the instruction's tokens: does it occur, where, in what context?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orchestai.planner.hints import FEATURES
from orchestai.planner.shapes import DescribedTypes, EncodedInstructions, Evidence


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
            learned = learned * (torch.rand(len(learned), 1, device=learned.device) >= self.drop)
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
        self.dropout = nn.Dropout(dropout)
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
        batch, length = encoded.mask.shape
        tokens = self.dropout(encoded.states)
        keys = self.keys(tokens).view(batch, length, self.heads, -1)  # (B, T, h, d)
        values = self.values(tokens).view(batch, length, self.heads, -1)
        queries = wanted.view(len(wanted), self.heads, -1)  # (K, h, d)
        scores = torch.einsum("khd,bthd->bkht", queries, keys) / keys.shape[-1] ** 0.5
        weights = scores.masked_fill(~encoded.mask[:, None, None, :], -1e4).softmax(dim=-1)  # (B, K, h, T)
        contexts = torch.einsum("bkht,bthd->bkhd", weights, values).flatten(2)  # (B, K, D)
        contexts = self.dropout(self.norm(contexts))
        outputs = read.view(len(read), 2, self.size)  # (K, 2, D)
        presence = (
            torch.einsum("bkd,kod->bko", contexts, outputs) / self.size**0.5
            + self.shared(contexts)
            + bias
            + self.hints(hints)
        )  # (B, K, 2)
        steps = torch.arange(length, device=weights.device, dtype=weights.dtype)
        positions = weights.mean(dim=2) @ steps / encoded.mask.sum(dim=1, keepdim=True)  # (B, K)
        return Evidence(presence=presence, contexts=contexts, positions=positions)
