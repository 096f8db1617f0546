"""Finds personal data: by form, and, where names and places are asked for, with a learned tagger."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import cast, get_args

import numpy as np

from orchestai.config.reflex import PiiKind
from orchestai.reflex.pii_patterns import FormedPii, Found
from orchestai.reflex.scanner import Engine
from orchestai.reflex.tagger import Tagger, tokenize

FORMED = frozenset(["EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "SSN", "IP_ADDRESS", "URL", "DRIVER_LICENSE"])
"""Kinds that have a form; the tagger finds the others."""

ALL_KINDS: tuple[PiiKind, ...] = get_args(PiiKind)


class PiiFinder:
    """Finds personal data.

    Args:
        kinds: Kinds to look for.
        engine: What searches for patterns.
        weights: File of the tagger's tables; null takes the packaged one.
    """

    def __init__(self, kinds: Iterable[PiiKind], engine: Engine = "auto", *, weights: Path | None = None) -> None:
        self._kinds = frozenset(kinds)
        self._formed = FormedPii(engine)
        self._path = weights
        self._lock = threading.Lock()

    @cached_property
    def _tagger(self) -> Tagger:
        with self._lock:
            if self._path is not None:
                return load_tagger(self._path)
            with resources.as_file(resources.files("orchestai.reflex") / "weights" / "pii.safetensors") as path:
                return load_tagger(path)

    @property
    def uses_tagger(self) -> bool:
        """Whether one of the kinds needs the tagger."""
        return not self._kinds <= FORMED

    def warm_up(self) -> None:
        """Load the tagger now if it is needed."""
        if self.uses_tagger:
            _ = self._tagger

    def find(self, text: str) -> list[Found]:
        """Return what was found, in order; pieces do not overlap."""
        formed = without_overlaps(self._formed.find(text))
        found = list(formed)
        if self.uses_tagger:
            tokens = tokenize(text)
            marks = marks_of([(token.start, token.end) for token in tokens], formed)
            found += [
                Found(cast("PiiKind", kind), start, end) for kind, start, end in self._tagger.spans(tokens, marks)
            ]
        return [each for each in without_overlaps(found) if each.kind in self._kinds]


def marks_of(places: Iterable[tuple[int, int]], formed: Iterable[Found]) -> list[str]:
    """Return for each token the kind of the formed piece that it lies in, or an empty text."""
    pieces = list(formed)
    return [
        next((piece.kind for piece in pieces if piece.start <= start and end <= piece.end), "") for start, end in places
    ]


def without_overlaps(found: Iterable[Found]) -> list[Found]:
    """Keep the first of pieces that overlap: confirmed forms before phones, phones before what is learned."""
    chosen: list[Found] = []
    for piece in sorted(found, key=lambda each: (_rank(each.kind), each.start - each.end, each.start)):
        if all(piece.end <= other.start or other.end <= piece.start for other in chosen):
            chosen.append(piece)
    return sorted(chosen, key=lambda each: each.start)


def _rank(kind: str) -> int:
    if kind not in FORMED:
        return 3
    return {"PHONE": 2, "DRIVER_LICENSE": 1}.get(kind, 0)


def load_tagger(path: Path) -> Tagger:
    """Read the tagger's tables."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        labels = file.metadata()["labels"].split(" ")
        return Tagger(labels, file.get_tensor("weights"), file.get_tensor("transitions").astype(np.float32))
