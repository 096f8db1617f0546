"""Reading segments and plain daily files: every line is a record or a bad line, none is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from orchestai.logs.codec import LineError
from orchestai.logs.files import storage_error
from orchestai.logs.quarantine import BadLine
from orchestai.logs.record import ExecutionLogRecord
from orchestai.logs.segments import CLOSED, OPEN, is_plain

MAX_LINE_BYTES = 16 << 20
"""The longest line that is a record; longer ones are not even parsed."""


@dataclass(frozen=True)
class SegmentContent:
    """What a segment holds.

    Attributes:
        path: The file.
        records: Its records, in order.
        bad_lines: Its other lines, in order.
    """

    path: Path
    records: list[ExecutionLogRecord] = field(default_factory=list)
    bad_lines: list[BadLine] = field(default_factory=list)


def read_segment(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> SegmentContent:
    """Read a whole segment or plain daily file.

    Args:
        path: The file; the unfinished last line of an `.open` one is left out: it is being written.
        max_line_bytes: The longest line that may be a record.

    Raises:
        StorageError: The file cannot be read.
    """
    content = SegmentContent(path)
    for item in iter_segment(path, max_line_bytes=max_line_bytes):
        if isinstance(item, BadLine):
            content.bad_lines.append(item)
        else:
            content.records.append(item)
    return content


def iter_segment(
    path: Path, *, max_line_bytes: int = MAX_LINE_BYTES, containing: bytes = b""
) -> Iterator[ExecutionLogRecord | BadLine]:
    """Go through the lines of a file, one in memory at a time; see `read_segment`.

    Args:
        path: The file.
        max_line_bytes: The longest line that may be a record.
        containing: Lines without these bytes are skipped unread.

    Raises:
        StorageError: The file cannot be read.
    """
    plain = is_plain(path)
    try:
        with _open(path) as stream:
            for number, line in enumerate(_lines(stream, max_line_bytes), start=1):
                if line.unfinished and path.suffix == OPEN:
                    return
                if line.content is not None and (containing not in line.content or not line.content.strip()):
                    continue
                yield _parse(path, number, line, plain=plain)
    except OSError as error:
        raise storage_error("read", path, error) from error


@dataclass(frozen=True)
class _Line:
    offset: int
    length: int
    content: bytes | None
    """None if it is too long."""
    sha256: str
    unfinished: bool


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        if path.suffix != OPEN:
            raise
        return path.with_suffix(CLOSED).open("rb")  # closed since it was listed


def _lines(stream: BinaryIO, max_bytes: int) -> Iterator[_Line]:
    offset = 0
    while chunk := stream.readline(max_bytes + 1):
        if chunk.endswith(b"\n") or len(chunk) <= max_bytes:
            unfinished = not chunk.endswith(b"\n")
            content = chunk if unfinished else chunk[:-1]
            yield _Line(offset, len(content), content, "", unfinished)
            offset += len(chunk)
            continue
        digest = hashlib.sha256()
        length = 0
        while chunk and not chunk.endswith(b"\n"):
            digest.update(chunk)
            length += len(chunk)
            chunk = stream.readline(max_bytes + 1)
        digest.update(chunk[:-1])
        length += len(chunk[:-1])
        yield _Line(offset, length, None, digest.hexdigest(), unfinished=not chunk)
        offset += length + bool(chunk)


def _parse(path: Path, number: int, line: _Line, *, plain: bool) -> ExecutionLogRecord | BadLine:
    try:
        if line.content is None:
            raise LineError("too_long", f"{line.length:,} bytes")
        return ExecutionLogRecord.from_line(line.content.rstrip(b"\r"), plain=plain)
    except LineError as error:
        sha256 = line.sha256 or hashlib.sha256(line.content or b"").hexdigest()
        return BadLine(path, number, line.offset, line.length, sha256, error.reason, error.detail)
