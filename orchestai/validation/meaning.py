"""How many different things the texts of a table say: order-2 diversity of their embeddings.

`n^2 / sum k(i, j)^2` with the cosine as kernel (RKE, arXiv:2211.04774): n texts that say the same count as one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestai.errors import OrchestAIError
from orchestai.validation.columns import Column
from orchestai.validation.settings import GateSettings

if TYPE_CHECKING:
    import pyarrow as pa

_TRIED = 16
_CHARS = 1_000


class Meaning(NamedTuple):
    """Effective number of different texts, or why it is not known."""

    table: float | None
    reference: float | None
    note: str


def sampled_texts(raw: pa.Table, columns: tuple[Column, ...], settings: GateSettings) -> tuple[str, ...]:
    """Return the texts of some rows: all text columns of a row together, rows drawn evenly, always the same ones.

    Args:
        raw: A sample of rows.
        columns: Columns of the reference.
        settings: How many rows; 0 means none.
    """
    names = [column.name for column in columns if column.kind == "text" and column.name in raw.column_names]
    if not names or not settings.embedding_rows:
        return ()
    import pyarrow as pa

    drawn = np.random.default_rng([settings.seed, 61]).permutation(raw.num_rows)[: settings.embedding_rows]
    rows = raw.select(names).take(pa.array(np.sort(drawn))).to_pylist()
    texts = (" ".join(str(value) for value in row.values() if value is not None)[:_CHARS] for row in rows)
    return tuple(text for text in texts if text.strip())


def measure_meaning(texts: tuple[str, ...], reference: tuple[str, ...], settings: GateSettings) -> Meaning:
    """Embed both sides, as many texts of each, if that can be done in the time that is allowed."""
    size = min(len(texts), len(reference)) if reference else len(texts)
    if size < 2:
        return Meaning(None, None, "too few texts to embed")
    mine, theirs = list(texts[:size]), list(reference[:size])
    try:
        from orchestai.embeddings import load_encoder

        encoder: Any = load_encoder("minilm")
        begun = time.perf_counter()
        encoder.encode(mine[:_TRIED])
        needed = (time.perf_counter() - begun) / min(_TRIED, size) * (len(mine) + len(theirs))
        if needed > settings.embedding_seconds:
            allowed = f"{settings.embedding_seconds:g} s are allowed"
            return Meaning(None, None, f"texts were not embedded: it would take {needed:.0f} s, {allowed}")
        found = [effective_texts(np.asarray(encoder.encode(side))) for side in (mine, theirs) if side]
    except (OrchestAIError, ImportError, OSError) as error:
        return Meaning(None, None, f"texts were not embedded: {error}")
    return Meaning(found[0], found[1] if len(found) > 1 else None, f"{size} texts embedded")


def effective_texts(vectors: NDArray[Any]) -> float:
    """Return how many different texts `vectors` (n, width) stand for, from 1 to n."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    kernel = (unit @ unit.T).clip(0, 1).astype(np.float64)
    return float(len(unit) ** 2 / np.square(kernel).sum())
