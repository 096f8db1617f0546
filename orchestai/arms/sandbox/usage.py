"""What a running sandbox takes, seen from outside, where the program cannot reach."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple

from orchestai.arms.sandbox.command import WORK


class Usage(NamedTuple):
    """A sample of one sandbox."""

    memory_bytes: int
    files: int


def can_measure() -> bool:
    """Say whether this kernel lists the children of a process."""
    return _children_file(os.getpid(), threading.get_native_id()).exists()


def measure(root: int) -> Usage:
    """Sum up `root` and all that descends from it; an orphan is a child of the sandbox's first process.

    A process that ends meanwhile counts as nothing: it no longer takes anything.
    """
    memory = 0
    files = 0
    waiting, seen = [root], {root}
    while waiting:
        process = waiting.pop()
        memory += _memory(process)
        files = max(files, _work_files(process))
        found = [child for child in _children(process) if child not in seen]
        seen.update(found)
        waiting.extend(found)
    return Usage(memory, files)


def _memory(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines() if line.startswith(("RssAnon:", "RssShmem:")))
    return sum(int(line[1]) for line in lines) * 1024


def _work_files(process: int) -> int:
    try:
        state = os.statvfs(f"/proc/{process}/root{WORK}")
    except OSError:  # bubblewrap's own processes may not be looked into
        return 0
    return state.f_files - state.f_ffree


def _children(process: int) -> list[int]:
    children: list[int] = []
    try:
        threads = [entry.name for entry in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return children
    for thread in threads:
        try:
            text = _children_file(process, int(thread)).read_text(encoding="ascii")
        except OSError:
            continue
        children.extend(int(child) for child in text.split())
    return children


def _children_file(process: int, thread: int) -> Path:
    return Path(f"/proc/{process}/task/{thread}/children")
