"""Where segments lie, who owns one, and what becomes of those whose writer died.

A writer holds an exclusive flock on its `.open` file for as long as it lives; the system gives it back even
after `kill -9`. So a `.open` file that can be locked has no writer any more.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from orchestai.logs.codec import LineError
from orchestai.logs.files import make_directory, storage_error, sync_directory
from orchestai.logs.quarantine import BadLine, write_quarantine
from orchestai.logs.record import ExecutionLogRecord

OPEN = ".open"
CLOSED = ".jsonl"

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PLAIN = re.compile(r"executions_(\d{8})\.jsonl")

_log = logging.getLogger(__name__)


def default_quarantine(directory: Path) -> Path:
    """Return the folder beside the logs where unreadable lines are kept."""
    return directory.parent / "quarantine"


def is_plain(path: Path) -> bool:
    """Say whether `path` is the documented daily file, whose lines have no CRC."""
    return _PLAIN.fullmatch(path.name) is not None


def day_of(path: Path) -> date | None:
    """Return the UTC day that a segment or a plain daily file belongs to."""
    plain = _PLAIN.fullmatch(path.name)
    text = f"{plain[1][:4]}-{plain[1][4:6]}-{plain[1][6:]}" if plain else path.parent.name
    if not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def list_days(directory: Path) -> list[date]:
    """Return the days that have logs, the oldest first."""
    return sorted({day for path in _files(directory) if (day := day_of(path)) is not None})


def closed_segments(directory: Path, day: date | None = None) -> list[Path]:
    """Return the segments that nobody writes to any more, and the plain daily files, in order of name."""
    return [path for path in _files(directory, day) if path.suffix == CLOSED]


def all_segments(directory: Path, day: date | None = None) -> list[Path]:
    """Return closed and open segments and the plain daily files, in order of name."""
    return _files(directory, day)


def _files(directory: Path, day: date | None = None) -> list[Path]:
    pattern = "????-??-??" if day is None else day.isoformat()
    found = [*directory.glob(f"{pattern}/*{CLOSED}"), *directory.glob(f"{pattern}/*{OPEN}")]
    found += [path for path in directory.glob(f"executions_*{CLOSED}") if is_plain(path)]
    return sorted(
        path
        for path in found
        if not path.name.startswith(".") and (where := day_of(path)) is not None and day in (None, where)
    )


class Segment:
    """A segment file that this process writes to, locked while it is open.

    Attributes:
        path: Its name while open.
        day: The UTC day of its folder.
        size: Bytes that are known to be on disk; all of them are whole lines.
        broken: What a failed write left cannot be taken back; nothing more may be written here.
    """

    def __init__(self, directory: Path, day: date, *, start: int = 1) -> None:
        """Create the next free `<host>-<pid>-<n>.open` of `day`.

        Raises:
            OSError: The disk refuses.
        """
        folder = directory / day.isoformat()
        make_directory(folder)
        self.day = day
        self.size = 0
        self.broken = False
        self.number = start
        while (opened := _claim(folder / f"{writer_name()}-{self.number}{OPEN}")) is None:
            self.number += 1
        self.path, self._fd = opened
        sync_directory(folder)

    def append(self, lines: bytes) -> None:
        """Write whole lines and return when they are on disk.

        Raises:
            OSError: The disk refuses; the file holds what it held before.
        """
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            self._take_back()
            raise
        self.size += len(lines)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
        except OSError:  # the disk is in a bad way: leave the file to repair_orphans and write to another
            self.broken = True

    def seal(self) -> None:
        """Give the file its final name, or remove it if it is empty, and let go of it.

        Raises:
            OSError: The disk refuses; the next start closes the file instead.
        """
        try:
            _close_file(self.path, self.size)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        os.close(self._fd)


def writer_name() -> str:
    """Return `<host>-<pid>` of this process, fit for a file name."""
    return f"{_host()}-{os.getpid()}"


@cache
def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname())[:64].lstrip(".") or "host"


def _claim(path: Path) -> tuple[Path, int] | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    if _lock(fd, path) and not path.with_suffix(CLOSED).exists():
        return path, fd
    # Process ids come again: an earlier process used the name up, or another start took the empty file.
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(fd), path.stat()):
            path.unlink()
    os.close(fd)
    return None


def _lock(fd: int, path: Path) -> bool:
    """Lock the file unless somebody else holds it, or `path` does not name it any more."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _close_file(path: Path, size: int) -> None:
    if size:
        path.rename(path.with_suffix(CLOSED))
    else:
        path.unlink()
    sync_directory(path.parent)


@dataclass(frozen=True)
class RepairedSegment:
    """What a dead writer left, and what became of it.

    Attributes:
        path: The closed segment; it does not exist if the file held no whole line.
        bytes_kept: Size of the whole lines.
        bytes_quarantined: Size of the torn tail that was cut off.
    """

    path: Path
    bytes_kept: int
    bytes_quarantined: int


def repair_orphans(directory: Path, quarantine: Path | None = None) -> list[RepairedSegment]:
    """Close the segments of writers that are dead; files of living ones are left alone.

    Whole lines stay, also unreadable ones: ingestion reports those. A line that was being written when its
    writer died goes to `quarantine/<day>/<segment>.torn.jsonl`.

    Args:
        directory: The execution logs.
        quarantine: Where torn lines go; `quarantine` beside the logs if not given.

    Raises:
        StorageError: A file cannot be repaired.
    """
    quarantine = quarantine or default_quarantine(directory)
    repaired = []
    for path in _files(directory):
        if path.suffix != OPEN:
            continue
        try:
            found = _repair(path, quarantine)
        except OSError as error:
            raise storage_error("repair", path, error) from error
        if found:
            _log.info("closed the segment of a dead writer: %s", found)
            repaired.append(found)
    return repaired


def _repair(path: Path, quarantine: Path) -> RepairedSegment | None:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # its writer closed it just now
        return None
    try:
        if not _lock(fd, path):
            return None
        content = path.read_bytes()
        kept = content.rfind(b"\n") + 1
        tail = content[kept:]
        if tail and _is_record(tail):  # all there but for the line break
            os.pwrite(fd, b"\n", len(content))
            kept, tail = len(content) + 1, b""
        elif tail:
            line = BadLine(
                path=path,
                line=content.count(b"\n") + 1,
                offset=kept,
                length=len(tail),
                sha256=hashlib.sha256(tail).hexdigest(),
                reason="torn",
                detail="the writer died while it wrote this line",
            )
            write_quarantine(_torn_file(quarantine, path), [line])
            os.ftruncate(fd, kept)
        os.fsync(fd)
        _close_file(path, kept)
        return RepairedSegment(path.with_suffix(CLOSED), kept, len(tail))
    finally:
        os.close(fd)


def _is_record(line: bytes) -> bool:
    try:
        ExecutionLogRecord.from_line(line)
    except LineError:
        return False
    return True


def _torn_file(quarantine: Path, path: Path) -> Path:
    return quarantine / path.parent.name / f"{path.stem}.torn.jsonl"
