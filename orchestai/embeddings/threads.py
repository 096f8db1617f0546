"""How many threads torch takes: one for equal results, or as many as find a core of their own.

Torch splits every product among its threads and waits for the last one. A thread that has to wait for a core holds up
all others at each of some hundred products: with both cores of a machine taken, a plan that needs 13 ms on two idle
cores took half a second with two threads, and 70 ms with one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_RUNNING = Path("/proc/loadavg")


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
    with torch_threads(min(torch.get_num_threads(), free_cores())):
        yield


def free_cores(running: Path = _RUNNING) -> int:
    """Return how many cores are free, that of the caller counted; at least 1.

    Args:
        running: Where the system says how many threads run or wait for a core; without it none counts as taken.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        others = int(running.read_bytes().split()[3].split(b"/")[0]) - 1
    except (OSError, ValueError, IndexError):
        others = 0
    return max(cores - max(others, 0), 1)
