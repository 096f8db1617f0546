"""Embeddings of the OpenAI format."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestai.workers.chat_format import estimate_tokens, malformed

if TYPE_CHECKING:
    import numpy as np

MAX_EMBEDDING_BYTES = 128 * 2**20
"""2,048 texts of 3,072 numbers each, written out, have about 75 MB."""


@dataclass(frozen=True)
class EmbeddingOutput:
    """Vectors of texts, and what they cost.

    Attributes:
        vectors: [texts, width] float32, in the order of the texts.
        model: Who made them.
        input_tokens: Tokens read.
        usage_estimated: Whether that is a guess, because the endpoint did not say.
        cost_usd: Dollars.
        latency_ms: Milliseconds.
    """

    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    model: str
    input_tokens: int
    usage_estimated: bool
    cost_usd: float
    latency_ms: float


def embedding_body(model: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return the body of a request; base64 halves what has to be sent and read."""
    return {"model": model, "input": list(texts), "encoding_format": "base64"}


def read_vectors(
    payload: Mapping[str, Any], count: int, worker: str
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return the vectors of an answer, in the order of the request, as base64 or as numbers.

    Raises:
        MalformedResponseError: One is missing, double, of another width or not finite.
    """
    import numpy as np

    data = payload.get("data")
    if not isinstance(data, list) or len(data) != count:
        found = len(data) if isinstance(data, list) else "no"
        raise malformed(worker, f"sent {found} embeddings for {count} texts.", "Check its `base_url` and `model`.")
    rows: list[np.ndarray[Any, np.dtype[np.float32]] | None] = [None] * count
    for position, entry in enumerate(data):
        index = entry.get("index", position) if isinstance(entry, dict) else None
        if not isinstance(index, int) or not 0 <= index < count or rows[index] is not None:
            raise malformed(worker, f"sent embeddings whose numbering is wrong (index {index!r}).", None)
        vector = _vector(entry.get("embedding"))
        if vector is None or not vector.size or not np.isfinite(vector).all():
            raise malformed(worker, f"sent an embedding (index {index}) that is no vector of finite numbers.", None)
        rows[index] = vector
    vectors = [row for row in rows if row is not None]
    if len({vector.size for vector in vectors}) > 1:
        raise malformed(worker, "sent embeddings of different widths.", None)
    return np.stack(vectors)


def _vector(value: object) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    import numpy as np

    try:
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
        with np.errstate(over="ignore"):  # what is too big becomes infinite, and is refused as such
            vector = np.asarray(value, dtype=np.float32) if isinstance(value, list) else None
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return None
    return vector if vector is not None and vector.ndim == 1 else None


def read_input_tokens(payload: Mapping[str, Any], texts: Sequence[str]) -> tuple[int, bool]:
    """Return how many tokens were read, and whether that is a guess."""
    usage = payload.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if isinstance(tokens, int) and tokens >= 0:
        return tokens, False
    return sum(estimate_tokens(text) for text in texts), True
