"""A clock that all processes of a machine share, and that nobody can turn back."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def machine_seconds() -> float:
    """Return the seconds since the machine started, sleep included."""
    return time.clock_gettime(_CLOCK)


@cache
def boot_id() -> str:
    """Name the start of the machine that the seconds count from; empty where it cannot be known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
