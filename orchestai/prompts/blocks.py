"""Puts material into a prompt: fenced, so that it ends where we say, and cut, so that it fits."""

from __future__ import annotations

import re

QUOTE = '"'
_RUNS = re.compile(f"{QUOTE}+")


def block(text: str) -> str:
    """Return `text` between two lines of quotation marks, longer than any run of them inside it."""
    longest = max((len(run) for run in _RUNS.findall(text)), default=0)
    fence = QUOTE * max(3, longest + 1)
    return f"{fence}\n{text.strip()}\n{fence}"


def cut(text: str, limit: int) -> str:
    """Return `text`, or its first two thirds and last third around a mark that says how much is left out.

    Args:
        text: What to shorten.
        limit: Characters to keep, the mark aside.
    """
    if len(text) <= limit:
        return text
    tail = limit // 3
    head = limit - tail
    mark = f"[... {len(text) - limit:,} characters left out ...]"
    return f"{text[:head].rstrip()}\n{mark}\n{text[len(text) - tail :].lstrip()}"


def share(lengths: list[int], total: int) -> list[int]:
    """Divide `total` characters: short texts stay whole, the long ones share evenly what is left.

    Returns:
        The limit of each text, in order.
    """
    limits = [0] * len(lengths)
    left = total
    by_length = sorted(range(len(lengths)), key=lambda index: lengths[index])
    for position, index in enumerate(by_length):
        limits[index] = min(lengths[index], left // (len(lengths) - position))
        left -= limits[index]
    return limits
