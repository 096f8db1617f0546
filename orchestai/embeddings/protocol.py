"""What the planner needs from an encoder; it knows encoders by nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class TokenStates(NamedTuple):
    """Contextual states of the tokens of some texts.

    Attributes:
        states: [B, T, H] float32, zero where padded.
        mask: [B, T] bool, true where there is a token.
    """

    states: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


class TextEncoder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """Name under which the encoder was loaded; a checkpoint remembers it."""

    @property
    def identity(self) -> str:
        """Hash of what decides the vectors: weights, tokenizer and limits."""

    @property
    def hidden_size(self) -> int:
        """Width H of the vectors."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return [B, H]: mean over the tokens, L2-normalised."""

    def encode_tokens(self, texts: Sequence[str]) -> TokenStates:
        """Return the states of all tokens."""


def pool(tokens: TokenStates) -> npt.NDArray[np.float32]:
    """Mean over the real tokens, L2-normalised: [B, T, H] -> [B, H]."""
    states, mask = tokens
    if mask.all():
        means = np.add.reduce(states, axis=1) / np.float32(max(states.shape[1], 1))  # (B, H)
    else:
        weights = mask[..., None].astype(np.float32)  # (B, T, 1)
        means = (states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    norms = np.sqrt(np.add.reduce(means * means, axis=1, keepdims=True))
    return np.asarray(means / np.maximum(norms, 1e-12), dtype=np.float32)


def pad(rows: Sequence[npt.NDArray[np.float16]], hidden_size: int) -> TokenStates:
    """Stack rows of [T_i, H] into one padded bundle."""
    import torch  # turns half precision into single ten times as fast as numpy

    width = max((len(row) for row in rows), default=0)
    states = np.zeros((len(rows), width, hidden_size), dtype=np.float32)
    mask = np.zeros((len(rows), width), dtype=np.bool_)
    for index, row in enumerate(rows):
        states[index, : len(row)] = torch.from_numpy(row).float().numpy()
        mask[index, : len(row)] = True
    return TokenStates(states=states, mask=mask)
