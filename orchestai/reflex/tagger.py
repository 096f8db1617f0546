"""A small learned tagger for personal data that has no form: names, places, addresses, jobs, dates.

A token gets a score for each label from hashed features of itself and its neighbours; Viterbi picks the best
sequence of labels. The weights are a table of numbers: they hold no text.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.reflex.gazetteer import HINTS

BITS = 15
SIZE = 1 << BITS
MAX_TOKENS = 4_000
"""Tokens tagged at most; what comes after is searched by form only."""

_TOKEN = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(64 - BITS)
_PAD = 2
_CLEAR_LEAD = 4.0

Floats = npt.NDArray[np.float32]


class Token(NamedTuple):
    """A word, a number or a sign."""

    text: str
    start: int
    end: int
    line: bool
    """Whether it begins a line."""


def tokenize(text: str) -> list[Token]:
    """Split `text` into words, numbers and signs."""
    tokens: list[Token] = []
    end = 0
    for match in _TOKEN.finditer(text):
        tokens.append(Token(match.group(), match.start(), match.end(), "\n" in text[end : match.start()] or not tokens))
        end = match.end()
        if len(tokens) == MAX_TOKENS:
            break
    return tokens


def token_features(tokens: Sequence[Token], marks: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the buckets of the features of each token, (T, F).

    Args:
        tokens: The tokens.
        marks: What the search by form says of each token, or an empty text.
    """
    own = np.array([_of_word(token.text) for token in tokens], dtype=np.uint64).reshape(len(tokens), 7)  # (T, 7)
    where = np.array(
        [[zlib.crc32(mark.encode()), token.line] for token, mark in zip(tokens, marks, strict=True)], dtype=np.uint64
    ).reshape(len(tokens), 2)
    padded = np.pad(np.hstack([own, where]), ((_PAD, _PAD), (0, 0)))  # (T + 4, 9)
    count = len(tokens)
    word, lower, shape, head, tail, short, hint, mark, line = range(9)

    def at(offset: int, column: int) -> npt.NDArray[np.uint64]:
        return padded[_PAD + offset : _PAD + offset + count, column]

    columns: list[npt.NDArray[np.uint64]] = []

    def add(*values: npt.NDArray[np.uint64]) -> None:
        hashed = np.full(count, len(columns) + 1, dtype=np.uint64)
        for value in values:
            hashed = (hashed + value) * _STEP
        columns.append(hashed)

    add()
    for column in (word, lower, shape, head, tail, hint, mark, line):
        add(at(0, column))
    for offset in (-2, -1, 1, 2):
        add(at(offset, lower))
        add(at(offset, shape))
    for offset in (-1, 1):
        add(at(offset, tail))
        add(at(offset, mark))
        add(at(0, shape), at(offset, shape))
        add(at(0, lower), at(offset, lower))
        add(at(0, shape), at(offset, lower))
    add(at(-2, lower), at(-1, lower))
    add(at(1, lower), at(2, lower))
    add(at(-1, shape), at(0, shape), at(1, shape))
    add(at(0, shape), at(0, line), at(1, shape))
    for offset in (-2, -1, 1, 2):
        add(at(offset, hint))
    for offset in (-1, 1):
        add(at(0, hint), at(offset, hint), at(0, shape))
        add(at(0, shape), at(offset, hint))
    add(at(0, short), at(-1, lower))
    add(at(-2, shape), at(-1, shape), at(0, shape))
    add(at(0, shape), at(1, shape), at(2, shape))
    return (np.stack(columns, axis=1) >> _SHIFT).astype(np.int64)


@lru_cache(maxsize=32_768)
def _of_word(word: str) -> tuple[int, ...]:
    lowered = word.lower()
    # A number's value says nothing of its kind, its length does.
    plain = "9" * len(word) if word.isdigit() else lowered
    forms = (word, plain, _shape(word), plain[:3], plain[-3:], _short_shape(word), HINTS.get(lowered, ""))
    return tuple(zlib.crc32(form.encode("utf-8", "replace")) for form in forms)


def _shape(word: str) -> str:
    if word.isdigit():
        return f"9{min(len(word), 9)}"
    if not word[0].isalpha():
        return word
    script = unicodedata.name(word[0], "?").split()[0][:3]
    if word.isupper():
        return f"{script}-X{min(len(word), 4)}"
    if word[0].isupper():
        return f"{script}-Xx"
    return f"{script}-x{min(len(word), 4)}"


def _short_shape(word: str) -> str:
    return _shape(word)[:2] if not word.isdigit() else "9"


class Tagger:
    """Labels tokens with `B-KIND`, `I-KIND` or `O`.

    Args:
        labels: Names of the labels.
        weights: Score of each label by bucket, (SIZE, L).
        transitions: Score of each label after each label, (L, L).
    """

    def __init__(self, labels: Sequence[str], weights: npt.NDArray[np.floating], transitions: Floats) -> None:
        self.labels = tuple(labels)
        self._weights = np.ascontiguousarray(weights, dtype=np.float32)
        allowed = [[not label.startswith("I-") or before[2:] == label[2:] for label in labels] for before in labels]
        self._transitions = np.where(np.array(allowed), transitions, np.float32(-1e4)).astype(np.float32)
        self._starts = np.array([-1e4 if label.startswith("I-") else 0.0 for label in labels], dtype=np.float32)

    def spans(self, tokens: Sequence[Token], marks: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return kind, start and end of what was found."""
        if not tokens:
            return []
        path = self.decode(self._weights[token_features(tokens, marks)].sum(axis=1))
        found: list[tuple[str, int, int]] = []
        for token, index in zip(tokens, path, strict=True):
            label = self.labels[index]
            if label.startswith("B-"):
                found.append((label[2:], token.start, token.end))
            elif label.startswith("I-"):
                kind, start, _ = found[-1]
                found[-1] = (kind, start, token.end)
        return found

    def decode(self, scores: Floats) -> list[int]:
        """Return the best sequence of labels for scores of shape (T, L).

        Viterbi runs only where a token is in doubt. Where "nothing" leads clearly, it stands; that is most of a
        text and half of the time. Spans are the same but for a few.
        """
        nothing = self.labels.index("O")
        lead = scores[:, nothing] - np.delete(scores, nothing, axis=1).max(axis=1)  # (T,)
        doubtful = lead <= _CLEAR_LEAD
        path = [nothing] * len(scores)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], doubtful, [False]]).astype(np.int8)))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            path[start:end] = self._viterbi(scores[start:end])
        return path

    def _viterbi(self, scores: Floats) -> list[int]:
        best = scores[0] + self._starts
        back: list[npt.NDArray[np.int64]] = []
        for step in range(1, len(scores)):
            reached = best[:, None] + self._transitions  # (L before, L)
            back.append(reached.argmax(axis=0))
            best = reached.max(axis=0) + scores[step]
        path = [int(best.argmax())]
        for before in reversed(back):
            path.append(int(before[path[-1]]))
        return path[::-1]
