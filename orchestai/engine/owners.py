"""Who works on an execution, and whether that process still lives: a lock that dies with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from pathlib import Path


class Owner:
    """This process's mark on the executions that it runs.

    The mark is a locked file. The kernel lets go of the lock when the process ends, however it ends, so nobody
    has to guess from a pid or from a heartbeat whether the owner is alive.

    Args:
        folder: Where the marks of all processes of a home lie.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._path = folder / self.name
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Take the mark away."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)


def is_alive(folder: Path, name: str) -> bool:
    """Say whether the owner of that name still holds its mark."""
    try:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        (folder / name).unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)
