"""What the command lines of the benchmarks share: an error is one line, and a status of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from orchestai.errors import OrchestAIError

Measured = TypeVar("Measured")


def run_command(work: Callable[[], Measured], show: Callable[[Measured], int | None]) -> int:
    """Do the work and show what came of it; return the exit status.

    Args:
        work: Measures; what is wrong with the data or the options it raises as ours.
        show: Prints the result; may return a status of its own.

    Returns:
        What `show` returned, 0 if that is nothing; 2 after an error, which is printed.
    """
    try:
        measured = work()
    except OrchestAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return show(measured) or 0
