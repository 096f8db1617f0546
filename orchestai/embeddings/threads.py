"""How many threads torch takes: one for equal results, or as many as find a core of their own.

Torch splits every product among its threads and waits for the last one. A thread that has to wait for a core holds up
all others at each of some hundred products: with both cores of a machine taken, a plan that needs 13 ms on two idle
cores took half a second with two threads, and 70 ms with one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_RUNNING = Path("/proc/loadavg")
_SPIN_S = 0.01
"""For so long a thread of torch that is done may go on running, in the hope of the next product."""

_spinning: tuple[float, int] = (0.0, 0)  # until when, and how many


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch take `count` threads on this thread, and then as many as before."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_on_free_cores() -> Iterator[None]:
    """Let torch take no more threads than there are cores that nothing else runs on now."""
    global _spinning
    until, ours = _spinning
    count = min(torch.get_num_threads(), free_cores(ours=ours if time.monotonic() < until else 0))
    with torch_threads(count):
        yield
    _spinning = (time.monotonic() + _SPIN_S, count - 1)


def free_cores(running: Path = _RUNNING, *, ours: int = 0) -> int:
    """Return how many cores are free, that of the caller counted; at least 1.

    Args:
        running: Where the system says how many threads run or wait for a core; without it none counts as taken.
        ours: Threads among them that run for the caller's sake.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        others = int(running.read_bytes().split()[3].split(b"/")[0]) - 1 - ours
    except (OSError, ValueError, IndexError):
        others = 0
    return max(cores - max(others, 0), 1)
