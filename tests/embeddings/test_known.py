from __future__ import annotations

import numpy as np

from orchestai.embeddings.known import KnownTexts
from orchestai.embeddings.protocol import TokenStates
from tests.planner.toys import WordEncoder


class CountingEncoder(WordEncoder):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode_tokens(self, texts: list[str]) -> TokenStates:  # type: ignore[override]
        self.asked += texts
        return super().encode_tokens(texts)


def test_what_is_known_is_not_read_again_and_the_rest_is() -> None:
    encoder = CountingEncoder()
    states, mask = WordEncoder().encode_tokens(["paint it"])
    known = KnownTexts(encoder, {"paint it": (2 * states[0][mask[0]]).astype(np.float16)})
    found = known.encode_tokens(["bake", "paint it", "bake"])
    assert encoder.asked == ["bake"]
    plain = WordEncoder().encode_tokens(["bake", "paint it", "bake"])
    assert (found.mask == plain.mask).all()
    np.testing.assert_allclose(found.states[1], 2 * plain.states[1], atol=1e-3)
    np.testing.assert_allclose(found.states[[0, 2]], plain.states[[0, 2]], atol=1e-3)
    np.testing.assert_allclose(known.encode(["bake"]), WordEncoder().encode(["bake"]), atol=1e-3)
    assert (known.name, known.identity, known.hidden_size) == (encoder.name, encoder.identity, encoder.hidden_size)
