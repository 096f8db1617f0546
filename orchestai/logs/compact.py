"""The segments of a day that is over become its one documented file `executions_YYYYMMDD.jsonl`.

The new file is durable before any segment goes, and ingestion knows every record by its key: whenever this stops,
nothing is lost and nothing is counted twice. Parquet needs no compaction: the table of a day is one file always.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from orchestai.contracts.base import Record
from orchestai.logs.codec import LineError
from orchestai.logs.files import replacing, storage_error, sync_directory
from orchestai.logs.ingest import day_lock, ingest_day
from orchestai.logs.reader import MAX_LINE_BYTES
from orchestai.logs.record import ExecutionLogRecord
from orchestai.logs.segments import OPEN, all_segments, closed_segments, is_plain, list_days


class CompactionReport(Record):
    """What became of a day.

    Attributes:
        day: The UTC day.
        path: Its file.
        segments: Segments that went into it now.
        kept: Segments that stay, because a line of theirs is no record.
        rows: Executions in it.
    """

    day: date
    path: Path
    segments: int
    kept: int
    rows: int


class _Line(NamedTuple):
    order: tuple[str, str, int, int, str]
    path: Path
    offset: int
    length: int


def plain_path(directory: Path, day: date) -> Path:
    """Return the documented file of a day."""
    return directory / f"executions_{day:%Y%m%d}.jsonl"


def days_to_compact(directory: Path, today: date, after_days: int) -> list[date]:
    """Return the days that have been over for `after_days` days, have closed segments and no open one."""
    last = today - timedelta(days=after_days + 1)
    found = []
    for day in list_days(directory):
        if day > last:
            break
        files = [path for path in all_segments(directory, day) if not is_plain(path)]
        if files and not any(path.suffix == OPEN for path in files):
            found.append(day)
    return found


def compact_day(directory: Path, day: date, out: Path, quarantine: Path) -> CompactionReport:
    """Put the closed segments of a day into its one file, take them away, and bring its table up to date.

    Of lines with the same execution id, attempt and sequence the one stays that ingestion would choose. A segment
    with a line that is no record stays as it is: nothing is thrown away unread.

    Args:
        directory: The execution logs.
        day: The UTC day.
        out: Folder of the tables.
        quarantine: Folder of the lines that are no records.

    Raises:
        StorageError: The disk refuses; every record is still in one of the files.
    """
    target = plain_path(directory, day)
    with day_lock(out, day):
        sources = [path for path in closed_segments(directory, day) if not is_plain(path)]
        before = {path: path.stat() for path in sources}
        chosen: dict[tuple[str, int, int], _Line] = {}
        folded, kept = [], 0
        for path in ([target] if target.exists() else []) + sources:
            found = _read(path)
            if found is None and path == target:  # somebody else's file with bad lines: it cannot be replaced
                return CompactionReport(day=day, path=target, segments=0, kept=len(sources), rows=0)
            if found is None:
                kept += 1
                continue
            for key, line in found:
                if key not in chosen or line.order < chosen[key].order:
                    chosen[key] = line
            if path != target:
                folded.append(path)
        if folded:
            _write(target, sorted(chosen.values()))
            _remove(folded, before)
    # Whether or not something changed now: an earlier pass may have been cut off before this.
    ingest_day(directory, day, out, quarantine)
    return CompactionReport(day=day, path=target, segments=len(folded), kept=kept, rows=len(chosen))


def _read(path: Path) -> list[tuple[tuple[str, int, int], _Line]] | None:
    """Return what is needed to choose and to copy the lines of a file; None if one of them is no record."""
    found = []
    offset = 0
    try:
        with path.open("rb") as stream:
            for raw in stream:
                line = raw.rstrip(b"\r\n")
                if line.strip():
                    if len(line) > MAX_LINE_BYTES:
                        return None
                    record = ExecutionLogRecord.from_line(line, plain=is_plain(path))
                    sha = hashlib.sha256(record.to_line()).hexdigest()
                    order = (record.timestamp.isoformat(timespec="microseconds"), *record.key, sha)
                    found.append((record.key, _Line(order, path, offset, len(line))))
                offset += len(raw)
    except LineError:
        return None
    except OSError as error:
        raise storage_error("read", path, error) from error
    return found


def _write(target: Path, lines: list[_Line]) -> None:
    with ExitStack() as stack:
        streams = {path: stack.enter_context(path.open("rb")) for path in {line.path for line in lines}}
        temporary = stack.enter_context(replacing(target))
        with temporary.open("wb") as out:
            for line in lines:
                stream = streams[line.path]
                stream.seek(line.offset)
                out.write(stream.read(line.length) + b"\n")


def _remove(paths: list[Path], before: dict[Path, os.stat_result]) -> None:
    for path in paths:
        now, then = path.stat(), before[path]
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (then.st_ino, then.st_size, then.st_mtime_ns):
            continue  # written anew meanwhile: it is for the next pass
        try:
            path.unlink()
            sync_directory(path.parent)
        except OSError as error:
            raise storage_error("remove", path, error) from error
