"""Answers by exact key: bounded, with an age limit, safe to share between threads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from orchestai.config.reflex import CacheConfig
from orchestai.contracts import Instruction


class CachedAnswer(NamedTuple):
    """A kept answer.

    Attributes:
        answer: The answer, with placeholders.
        pii: Personal data of the instruction by placeholder.
        cleaned: The instruction without personal data and secrets; null where it had none.
        expires: When it is too old, on the cache's clock.
    """

    answer: str
    pii: Mapping[str, str]
    cleaned: Instruction | None
    expires: float


class ExactCache:
    """Answers by key.

    Args:
        config: Size and age.
        clock: Monotonic seconds.
    """

    def __init__(self, config: CacheConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, CachedAnswer] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def get(self, key: str) -> CachedAnswer | None:
        """Return what is kept under `key` and not too old."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.expires <= self._clock():
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return entry

    def put(
        self,
        key: str,
        answer: str,
        pii: Mapping[str, str] = MappingProxyType({}),
        *,
        cleaned: Instruction | None = None,
    ) -> bool:
        """Keep `answer`; say whether it was kept."""
        if self._config.max_entries == 0 or len(answer) > self._config.max_answer_chars:
            return False
        with self._lock:
            self._entries[key] = CachedAnswer(answer, dict(pii), cleaned, self._clock() + self._config.ttl_s)
            self._entries.move_to_end(key)
            while len(self._entries) > self._config.max_entries:
                self._entries.popitem(last=False)
        return True

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
