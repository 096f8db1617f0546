"""Lines that are no records, kept with their bytes and the reason."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestai.logs.files import replacing, storage_error, write_file

_INLINE_BYTES = 1 << 20
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class BadLine:
    """One line that is not a record.

    Attributes:
        path: File that it stands in.
        line: Its number there, from 1.
        offset: Its first byte there.
        length: Its bytes, without the line break.
        sha256: Hash of these bytes.
        reason: Word for counting: `encoding`, `json`, `crc`, `schema`, `too_long`, `torn`.
        detail: What exactly is wrong.
    """

    path: Path
    line: int
    offset: int
    length: int
    sha256: str
    reason: str
    detail: str

    def read_raw(self) -> bytes:
        """Read the bytes from the file.

        Raises:
            StorageError: The file is gone or cannot be read.
        """
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                return stream.read(self.length)
        except OSError as error:
            raise storage_error("read", self.path, error) from error

    def to_json(self) -> dict[str, Any]:
        """Return what is known of the line but for its bytes."""
        return {
            "segment": self.path.stem,
            "line": self.line,
            "offset": self.offset,
            "bytes": self.length,
            "sha256": self.sha256,
            "reason": self.reason,
            "detail": self.detail,
        }


def write_quarantine(path: Path, lines: Iterable[BadLine]) -> None:
    """Replace the quarantine file `path` by `lines`; writing the same lines twice changes nothing.

    The bytes stand in `raw` if they are text and in `raw_base64` if not; a line of more than 1 MiB goes to a
    file of its own beside, named in `raw_file`.

    Raises:
        StorageError: The disk refuses, or the lines cannot be read any more.
    """
    rows = [json.dumps({**line.to_json(), **_content(path, line)}, ensure_ascii=False) for line in lines]
    write_file(path, "".join(f"{row}\n" for row in rows).encode())


def count_reasons(path: Path) -> Counter[str]:
    """Return how many lines of each reason a quarantine file holds; none if there is no such file."""
    if not path.exists():
        return Counter()
    return Counter(json.loads(row)["reason"] for row in path.read_bytes().splitlines())


def _content(path: Path, line: BadLine) -> dict[str, str]:
    if line.length > _INLINE_BYTES:
        beside = path.with_name(f"{path.stem}.{line.line}.raw")
        _copy(line, beside)
        return {"raw_file": beside.name}
    raw = line.read_raw()
    try:
        return {"raw": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}


def _copy(line: BadLine, target: Path) -> None:
    with replacing(target) as temporary, line.path.open("rb") as source, temporary.open("wb") as copy:
        source.seek(line.offset)
        left = line.length
        while left and (chunk := source.read(min(left, _COPY_BYTES))):
            copy.write(chunk)
            left -= len(chunk)
