"""InstructionEncoder: texts to [B, H] and to token states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestai.embeddings.protocol import TextEncoder, pool
from orchestai.planner.shapes import EncodedInstructions


class InstructionEncoder(nn.Module):
    """A frozen encoder of the BERT or T5 family as a module; its weights are no part of a checkpoint.

    Args:
        encoder: Any text encoder.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def hidden_size(self) -> int:
        """Width H."""
        return self.encoder.hidden_size

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the pooled embeddings [B, H]."""
        return torch.from_numpy(self.encoder.encode(texts))

    def encode(self, texts: Sequence[str]) -> EncodedInstructions:
        """Return embeddings and token states."""
        tokens = self.encoder.encode_tokens(texts)
        return EncodedInstructions(
            embeddings=torch.from_numpy(pool(tokens)),
            states=torch.from_numpy(tokens.states),
            mask=torch.from_numpy(tokens.mask),
        )
