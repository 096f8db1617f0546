"""What a training took, over all the processes that worked on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self


class Spent(NamedTuple):
    """A moment, by the clock on the wall and by the work of this process, in seconds."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Self:
        """This moment."""
        return cls(time.monotonic(), time.process_time())

    def until_now(self) -> dict[str, float]:
        """Wall `seconds` and `cpu_seconds` since then, as a row of a history has them."""
        return {"seconds": time.monotonic() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


class Clock:
    """Counts from its making; rows of the history that this process did not make are added at the end.

    Args:
        on_epoch: Called with each row of the history.
    """

    def __init__(self, on_epoch: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._on_epoch = on_epoch
        self._started = Spent.now()
        self._mine = {"seconds": 0.0, "cpu_seconds": 0.0}

    def see(self, row: dict[str, Any]) -> None:
        """Take in a row that this process made, and pass it on."""
        for key in self._mine:
            self._mine[key] += row[key]
        if self._on_epoch:
            self._on_epoch(row)

    def cost(self, history: Sequence[dict[str, Any]]) -> dict[str, float]:
        """`wall_s` and `cpu_s` of this process and of the epochs that earlier ones finished."""
        here = self._started.until_now()
        earlier = {key: sum(row.get(key, 0.0) for row in history) - self._mine[key] for key in here}
        return {"wall_s": here["seconds"] + earlier["seconds"], "cpu_s": here["cpu_seconds"] + earlier["cpu_seconds"]}
