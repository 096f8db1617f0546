"""One regular file, opened once: never a link, device or pipe, and unchanged from the first byte to the last."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from orchestai.errors import DataError
from orchestai.validation.load.limits import MIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PreadFile(io.RawIOBase):
    """A file object with a position of its own over a shared descriptor.

    Two readers of one descriptor would move each other's position; `pread` has none.

    Args:
        fd: The descriptor; it is not closed with this object.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self._position = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the position or the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes; never is more allocated than the file has left, whatever it declares."""
        left = max(0, self.size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        pieces = []
        while size and (piece := os.pread(self.fd, size, self._position)):
            pieces.append(piece)
            self._position += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` as far as the file reaches; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def head(self, size: int = 64 * 1024) -> bytes:
        """Return the first bytes; the position stays."""
        return os.pread(self.fd, size, 0)

    def tail(self, size: int) -> bytes:
        """Return the last bytes; the position stays."""
        return os.pread(self.fd, size, max(0, self.size - size))


class Snapshot:
    """A file that is open, hashed, and known to be what it was.

    Args:
        fd: Descriptor; closed with this object.
        name: What errors call it.
        content_hash: sha256 of its bytes, in hex.
    """

    def __init__(self, fd: int, name: str, content_hash: str = "") -> None:
        self.fd = fd
        self.name = name
        self.content_hash = content_hash
        self._mark = _identity(fd)
        self._close = weakref.finalize(self, os.close, fd)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self._mark[0]

    def file(self) -> PreadFile:
        """Return a reader with a position of its own."""
        return PreadFile(self.fd)

    def check_unchanged(self) -> None:
        """Compare with how it was when it was opened.

        Raises:
            DataError: Somebody has written to it.
        """
        if _identity(self.fd) != self._mark:
            raise DataError(
                f"{self.name} was changed while it was read ({self._mark[0]:,} bytes, now {_identity(self.fd)[0]:,}).",
                remedy="Wait until its writer has finished, or have it written to another name and renamed.",
            )

    def close(self) -> None:
        """Close the file; nothing can be read from it any more."""
        self._close()


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_size, found.st_mtime_ns


def open_snapshot(path: Path) -> Snapshot:
    """Open a regular file for reading and hash it.

    Raises:
        DataError: It does not exist, is empty, is a link, folder, pipe or device, may not be read, or changes.
    """
    name = path.name
    try:
        # O_NONBLOCK: opening a pipe would wait for its writer; regular files don't care.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", remedy="Check the path.") from error
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise DataError(
                f"{path} is a symbolic link, which could lead anywhere.", remedy="Name the file that it leads to."
            ) from error
        raise DataError(f"{path} cannot be opened: {error}.", remedy="Check its name and permissions.") from error
    kind = os.fstat(fd).st_mode
    if not stat.S_ISREG(kind):
        os.close(fd)
        raise DataError(f"{path} is {_kind(kind)}, not a regular file.", remedy="Name one file that holds the table.")
    found = Snapshot(fd, name)
    if not found.size:
        raise DataError(f"{name} is empty (0 bytes).", remedy="Write at least a header and a row.")
    digest = hashlib.sha256()
    file = found.file()
    while block := file.read(MIB):
        digest.update(block)
    found.content_hash = digest.hexdigest()
    found.check_unchanged()
    return found


def _kind(mode: int) -> str:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")
