"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestai.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "Free some space there, or move the home directory (ORCHESTAI_HOME) to another disk.",
    errno.EDQUOT: "Free some of the quota, or move the home directory (ORCHESTAI_HOME) to another disk.",
    errno.EFBIG: "Raise the limit on file sizes (`ulimit -f`).",
    errno.EACCES: "Give this user write permission there, or set ORCHESTAI_HOME to a directory that it owns.",
    errno.EPERM: "Give this user write permission there, or set ORCHESTAI_HOME to a directory that it owns.",
    errno.EROFS: "Mount it writable, or set ORCHESTAI_HOME to a writable directory.",
    errno.ENOTDIR: "A part of this path is a file: remove it, or set ORCHESTAI_HOME to another directory.",
    errno.EMFILE: "Raise the limit on open files (`ulimit -n`).",
}


def storage_error(action: str, path: Path, error: OSError) -> StorageError:
    """Return the error to raise when `action` on `path` failed with `error`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "Check the disk and the mount.")
    return StorageError(f"Cannot {action} {path}: {reason}.", path=str(path), remedy=remedy)


def sync_directory(directory: Path) -> None:
    """Make names in `directory` durable: a synced file whose name is lost is lost."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Create `directory` and its parents, each durable in its own parent."""
    missing = []
    current = directory
    while not current.exists():
        missing.append(current)
        current = current.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on leaving, what was written there replaces `path`.

    Raises:
        StorageError: The disk refuses; `path` is as it was and the temporary file is gone.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        make_directory(path.parent)
        yield temporary
        fd = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error("write", path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, at once and durably.

    Raises:
        StorageError: The disk refuses; `path` is as it was.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
