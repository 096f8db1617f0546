"""Hashed n-grams of a text as indices into a weight table: fast enough for the request path, and they hold no text."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

BITS = 16
SIZE = 1 << BITS
"""Number of buckets, and so of weights a table."""

MAX_CHARS = 8_192
"""Longer texts are read at both ends: what is hidden in the middle of a book is found window by window."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_CHAR_ORDERS = (2, 3, 4, 5)
_WORD_ORDERS = (1, 2, 3)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(64 - BITS)

Indices = npt.NDArray[np.int64]


def ngram_indices(text: str) -> Indices:
    """Return the distinct buckets of the character and word n-grams of `text`, which is already in lower case."""
    if len(text) > MAX_CHARS:
        text = f"{text[: MAX_CHARS // 2]} {text[-MAX_CHARS // 2 :]}"
    parts = [*_char_hashes(f" {text} "), *_word_hashes(_TOKEN.findall(text))]
    mixed = np.concatenate(parts) * _STEP >> _SHIFT
    # A table of marks is several times faster than sorting or hashing the thousands of n-grams once more.
    marks = np.zeros(SIZE, dtype=np.bool_)
    marks[mixed] = True
    return np.flatnonzero(marks)


@lru_cache(maxsize=32_768)
def word_hash(word: str) -> int:
    """Return 32 bits that stand for `word`."""
    return zlib.crc32(word.encode("utf-8", "replace"))


def _char_hashes(text: str) -> list[npt.NDArray[np.uint64]]:
    points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4").astype(np.uint64)
    return [_windows(points, order, salt=order) for order in _CHAR_ORDERS if len(points) >= order]


def _word_hashes(tokens: list[str]) -> list[npt.NDArray[np.uint64]]:
    if not tokens:
        return []
    ids = np.array([word_hash(token) for token in tokens], dtype=np.uint64)
    hashes = [_windows(ids, order, salt=16 + order) for order in _WORD_ORDERS if len(ids) >= order]
    if len(ids) >= 3:  # one word left out between two: "forget ... instructions"
        hashes.append((ids[:-2] * _STEP + ids[2:]) * _STEP + np.uint64(32))
    # How a text begins and ends says whether somebody asks or orders.
    first, second, last = ids[:1], ids[min(1, len(ids) - 1) :][:1], ids[-1:]
    edges = np.concatenate([first, first * _STEP + second, last])
    hashes.append(edges * _STEP + np.array([33, 34, 35], dtype=np.uint64))
    return hashes


def _windows(values: npt.NDArray[np.uint64], order: int, *, salt: int) -> npt.NDArray[np.uint64]:
    """Hash every run of `order` values; unsigned arithmetic wraps around, which is what a hash wants."""
    count = len(values) - order + 1
    hashed = np.full(count, salt, dtype=np.uint64)
    for offset in range(order):
        hashed = hashed * _STEP + values[offset : offset + count]
    return hashed
