"""Near hits: kept answers to instructions that say the same in slightly other words."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.config.reflex import NearHitConfig
from orchestai.reflex.features import word_hash

Vector = npt.NDArray[np.float32]
NearEncoder = Callable[[str], Vector]
"""Turns a text into a vector of length 1."""

_MAX_SCOPES = 1_024
_STEP = np.uint64(0x9E3779B97F4A7C15)


class NearHit(NamedTuple):
    """A kept answer to another wording.

    Attributes:
        key: Exact key of the kept instruction.
        similarity: Cosine between the canonical forms.
        variance: 1 minus the cosine between the texts as they were written.
    """

    key: str
    similarity: float
    variance: float


class HashedEncoder:
    """Words and pairs of words hashed into a vector: 0.2 ms for 2 KB, no weights.

    Args:
        size: Length of the vector.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = size

    def __call__(self, text: str) -> Vector:
        """Return the vector of `text`."""
        ids = np.array([word_hash(word) for word in text.split()], dtype=np.uint64)
        hashes = np.concatenate([ids * _STEP, (ids[:-1] * _STEP + ids[1:]) * _STEP]) >> np.uint64(32)
        signs = np.where(hashes & np.uint64(1 << 20), 1.0, -1.0)
        vector = np.bincount((hashes % np.uint64(self.size)).astype(np.int64), weights=signs, minlength=self.size)
        norm = float(np.linalg.norm(vector))
        return (vector / norm if norm else vector).astype(np.float32)


class _Entry(NamedTuple):
    key: str
    words: tuple[str, ...]
    raw: Vector
    expires: float


class _Scope:
    """The instructions of one scope; the oldest is overwritten when it is full."""

    def __init__(self, size: int, capacity: int) -> None:
        self._vectors = np.zeros((min(16, capacity), size), dtype=np.float32)
        self._capacity = capacity
        self.entries: list[_Entry] = []
        self._next = 0

    def add(self, vector: Vector, entry: _Entry) -> None:
        if len(self.entries) < self._capacity:
            if len(self.entries) == len(self._vectors):
                grown = np.zeros((min(2 * len(self._vectors), self._capacity), vector.shape[0]), dtype=np.float32)
                grown[: len(self._vectors)] = self._vectors
                self._vectors = grown
            self._vectors[len(self.entries)] = vector
            self.entries.append(entry)
            return
        self._vectors[self._next] = vector
        self.entries[self._next] = entry
        self._next = (self._next + 1) % self._capacity

    def nearest(self, vector: Vector, similarity: float) -> list[tuple[float, _Entry]]:
        cosines = self._vectors[: len(self.entries)] @ vector  # (N,)
        near = np.flatnonzero(cosines > similarity)
        order = near[np.argsort(-cosines[near], kind="stable")]
        return [(float(cosines[index]), self.entries[index]) for index in order]


class NearIndex:
    """Kept instructions by scope.

    Args:
        config: Similarity and size.
        ttl_s: Seconds after which an entry is too old.
        encoder: Turns canonical text into a vector; the guard decides, whatever it says.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: NearHitConfig,
        *,
        ttl_s: float,
        encoder: NearEncoder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ttl_s = ttl_s
        self._encode = encoder if encoder is not None else HashedEncoder()
        self._raw = HashedEncoder()
        self._clock = clock
        self._lock = threading.Lock()
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()

    def holds(self, scope: str) -> bool:
        """Say whether anything is kept in `scope`."""
        with self._lock:
            return scope in self._scopes

    def find(self, scope: str, words: Sequence[str], text: str) -> NearHit | None:
        """Return the nearest kept instruction that the guard lets pass."""
        vector = self._encode(" ".join(words))
        now = self._clock()
        with self._lock:
            kept = self._scopes.get(scope)
            near = kept.nearest(vector, self._config.similarity) if kept is not None else []
        for cosine, entry in near:
            if entry.words == tuple(words) and entry.expires > now:
                variance = max(0.0, 1.0 - float(entry.raw @ self._raw(text.lower())))
                return NearHit(entry.key, min(cosine, 1.0), variance)
        return None

    def add(self, scope: str, words: tuple[str, ...], text: str, key: str) -> None:
        """Keep an instruction."""
        vector = self._encode(" ".join(words))
        entry = _Entry(key, words, self._raw(text.lower()), self._clock() + self._ttl_s)
        with self._lock:
            kept = self._scopes.setdefault(scope, _Scope(len(vector), self._config.max_entries))
            self._scopes.move_to_end(scope)
            kept.add(vector, entry)
            while len(self._scopes) > _MAX_SCOPES:
                self._scopes.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._scopes.clear()
