"""Counts of what became of instructions; an exporter may read them."""

from __future__ import annotations

import threading
from collections import Counter


class ReflexCounters:
    """Thread-safe counters by name.

    Names: `hit`, `near_hit`, `blocked`, `passthrough`; what was blocked also as `blocked.injection` and
    `blocked.schema`; what was found as `pii.<KIND>`, `secret.<kind>` and `injection.gated`; the cache's
    `stored` and `not_stored`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Count `name`."""
        with self._lock:
            self._counts[name] += count

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Return all counts as they are now."""
        with self._lock:
            return dict(sorted(self._counts.items()))
