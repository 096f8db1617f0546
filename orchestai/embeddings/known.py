"""An encoder that has read some texts already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestai.embeddings.protocol import TextEncoder, TokenStates, pad, pool


class KnownTexts:
    """Answers from what is known, and asks the encoder about the rest.

    Args:
        encoder: Whose states they are.
        states: [T, H] of the tokens by text.
    """

    def __init__(self, encoder: TextEncoder, states: Mapping[str, npt.NDArray[np.float16]]) -> None:
        self._encoder = encoder
        self._states = dict(states)

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self._encoder.name

    @property
    def identity(self) -> str:
        """Identity of the encoder."""
        return self._encoder.identity

    @property
    def hidden_size(self) -> int:
        """Width of the vectors."""
        return self._encoder.hidden_size

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return [B, H]: mean over the tokens, L2-normalised."""
        return pool(self.encode_tokens(texts))

    def encode_tokens(self, texts: Sequence[str]) -> TokenStates:
        """Return the states of all tokens."""
        new = [text for text in dict.fromkeys(texts) if text not in self._states]
        rows = dict(self._states)
        if new:
            found = self._encoder.encode_tokens(new)
            rows |= {text: states[mask].astype(np.float16) for text, states, mask in zip(new, *found, strict=True)}
        return pad([rows[text] for text in texts], self.hidden_size)
