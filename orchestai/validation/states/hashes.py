"""How often each distinct row occurs, with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.hashing import Hashes

_LIMIT = np.uint64(0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True)
class HashCounts:
    """Counts of the distinct hashes that are smallest (k minimum values, Bar-Yossef et al. 2002).

    A hash that is held was never dropped, so its count is exact whatever the order of merging.

    Attributes:
        size: Most distinct hashes held.
        hashes: Ascending (k,).
        counts: Occurrences of each (k,).
        total: All rows seen.
    """

    size: int
    hashes: Hashes
    counts: NDArray[np.int64]
    total: int

    @classmethod
    def of(cls, hashes: Hashes, size: int) -> HashCounts:
        """Count the hashes of one chunk."""
        distinct, counts = np.unique(hashes, return_counts=True)
        return cls(size, distinct[:size], counts[:size].astype(np.int64), len(hashes))

    def merge(self, other: HashCounts) -> HashCounts:
        """Return the counts of both parts."""
        joined = np.concatenate([self.hashes, other.hashes])
        order = np.argsort(joined, kind="stable")
        ordered = joined[order]
        counts = np.concatenate([self.counts, other.counts])[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else order
        sums = np.add.reduceat(counts, starts) if len(starts) else counts
        return HashCounts(self.size, ordered[starts][: self.size], sums[: self.size], self.total + other.total)

    @property
    def complete(self) -> bool:
        """Whether every distinct hash is held."""
        return len(self.hashes) < self.size or int(self.counts.sum()) == self.total

    @property
    def limit(self) -> np.uint64:
        """Return the hash below which everything is held."""
        return _LIMIT if self.complete else np.uint64(self.hashes[-1])

    def repeated_share(self) -> float:
        """Return the share of rows that repeat another one."""
        rows = int(self.counts.sum())
        return 1.0 - len(self.hashes) / rows if rows else 0.0

    def share_in(self, other: HashCounts) -> float:
        """Return the share of these rows that occur in `other`."""
        limit = min(self.limit, other.limit)
        mine = self.hashes <= limit
        rows = int(self.counts[mine].sum())
        found = np.isin(self.hashes[mine], other.hashes, assume_unique=True)
        return float(self.counts[mine][found].sum()) / rows if rows else 0.0


def merge_all(parts: list[HashCounts]) -> HashCounts:
    """Merge many parts in pairs, so that no hash is sorted more often than the logarithm of their number."""
    while len(parts) > 1:
        parts = [parts[i].merge(parts[i + 1]) if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
    return parts[0]
