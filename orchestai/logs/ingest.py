"""Closed segments become one Parquet table a day; ingesting again, or bit by bit, changes nothing.

What was read is written into the table itself (schema metadata `orchestai.segments`), so that a segment is
parsed once and the table can never disagree with its own bookkeeping.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.contracts.base import Record
from orchestai.errors import DataError
from orchestai.logs.columns import KEY, execution_row, execution_schema
from orchestai.logs.files import make_directory, replacing, storage_error
from orchestai.logs.parquet import read_parquet
from orchestai.logs.quarantine import BadLine, count_reasons, write_quarantine
from orchestai.logs.reader import iter_segment
from orchestai.logs.segments import closed_segments, is_plain

if TYPE_CHECKING:
    import pyarrow as pa

_BOOK = b"orchestai.segments"
_VERSION = b"orchestai.schema_version"
_CHUNK_ROWS = 2000


class IngestReport(Record):
    """What a day's table holds now.

    Attributes:
        day: The UTC day.
        path: The Parquet file.
        segments: Segments and plain files that went into the table, ever.
        new_segments: Those of them that were read now.
        rows: Executions in the table.
        new_rows: Those of them that it did not hold before.
        duplicates: Lines that repeated another one's id, attempt and sequence.
        quarantined: Lines that are no records, by reason; torn lines of dead writers included.
        simulated_rows: Executions in which a simulated worker took part.
        seconds: Time that it took.
    """

    day: date
    path: Path
    segments: int
    new_segments: int
    rows: int
    new_rows: int
    duplicates: int
    quarantined: dict[str, int]
    simulated_rows: int
    seconds: float


def table_path(out: Path, day: date) -> Path:
    """Return the table of `day` in the folder of tables."""
    return out / f"{day.isoformat()}.parquet"


@contextmanager
def day_lock(out: Path, day: date) -> Iterator[None]:
    """Hold a day's table alone: of two writers, the later one would put back what it read before the other wrote.

    The kernel lets go of it when the process ends, however it ends.

    Raises:
        StorageError: The folder of the tables cannot be written.
    """
    path = out / ".locks" / day.isoformat()
    try:
        make_directory(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise storage_error("lock", path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def ingest_day(directory: Path, day: date, out: Path, quarantine: Path) -> IngestReport:
    """Bring the table of `day` up to date with its closed segments and plain daily file.

    Of lines with the same execution id, attempt and sequence one is kept, the same one in whatever order
    they come. Lines that are no records go to `quarantine/<day>/<segment>.bad.jsonl`. Rows of segments that
    have been deleted since stay. Two processes may ingest the same day: one waits for the other.

    Args:
        directory: The execution logs.
        day: The UTC day.
        out: Folder of the tables.
        quarantine: Folder of the lines that are no records.

    Raises:
        StorageError: A file cannot be read or written; the table is as it was.
        DataError: The table that is there is damaged or of another version.
    """
    started = time.perf_counter()
    path = table_path(out, day)
    folder = quarantine / day.isoformat()
    with day_lock(out, day):
        table, book = _read_table(path)
        known = table.num_rows if table is not None else 0
        fresh = []
        parts: list[pa.Table] = []
        segments = closed_segments(directory, day)
        for segment in segments:
            digest = _digest(segment)
            if book.get(segment.name, {}).get("sha256") == digest:
                continue
            good, bad = _read(segment)
            parts.append(good)
            write_bad_lines(folder, segment, bad)
            book[segment.name] = {"sha256": digest, "records": good.num_rows, "bad": _reasons(bad)}
            fresh.append(segment)
        stale = book.keys() - {segment.name for segment in segments}
        if stale and any(is_plain(segment) for segment in segments):
            # Compaction put them into the daily file: counted beside it, its lines would be duplicates.
            book = {name: entry for name, entry in book.items() if name not in stale}
        else:
            stale = set()
        if fresh or stale or table is None:
            table = _merge(table, parts)
            _write_table(path, table, book)
    quarantined: Counter[str] = Counter()
    for entry in book.values():
        quarantined.update(entry["bad"])
    for torn in sorted(folder.glob("*.torn.jsonl")):
        quarantined.update(count_reasons(torn))
    return IngestReport(
        day=day,
        path=path,
        segments=len(book),
        new_segments=len(fresh),
        rows=table.num_rows,
        new_rows=table.num_rows - known,
        duplicates=max(sum(entry["records"] for entry in book.values()) - table.num_rows, 0),
        quarantined=dict(sorted(quarantined.items())),
        simulated_rows=sum(table["simulated"].to_pylist()),
        seconds=time.perf_counter() - started,
    )


def write_bad_lines(folder: Path, segment: Path, bad: list[BadLine]) -> None:
    """Keep the lines of `segment` that are no records in `folder`.

    Raises:
        StorageError: The disk refuses.
    """
    path = folder / f"{segment.stem}.bad.jsonl"
    if bad:
        write_quarantine(path, bad)
    elif path.exists():  # a plain file that was mended
        path.unlink()


def _read(segment: Path) -> tuple[pa.Table, list[BadLine]]:
    """Read a segment; only some thousand rows of it are Python objects at a time."""
    import pyarrow as pa

    schema = execution_schema()
    bad: list[BadLine] = []
    rows: list[dict[str, Any]] = []
    parts: list[pa.Table] = []
    for item in iter_segment(segment):
        if isinstance(item, BadLine):
            bad.append(item)
            continue
        rows.append(execution_row(item, segment.name))
        if len(rows) == _CHUNK_ROWS:
            parts.append(pa.Table.from_pylist(rows, schema=schema))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=schema))
    return pa.concat_tables(parts), bad


def _reasons(bad: list[BadLine]) -> dict[str, int]:
    return dict(sorted(Counter(line.reason for line in bad).items()))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise storage_error("read", path, error) from error


def _merge(table: pa.Table | None, parts: Sequence[pa.Table]) -> pa.Table:
    """Return old and new rows, each key once, in an order that only the rows themselves decide."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = [] if table is None else [table]
    merged = pa.concat_tables([*known, *parts]) if known or parts else execution_schema().empty_table()
    names = ("timestamp", *KEY, "content_sha256", "segment")
    order = pc.sort_indices(merged, sort_keys=[(name, "ascending") for name in names])
    keys = merged.select(list(KEY)).take(order).append_column("place", pa.array(range(len(order)), pa.int64()))
    # Threads would hand the groups back in any order.
    first = keys.group_by(list(KEY), use_threads=False).aggregate([("place", "min")])["place_min"]
    return merged.take(order.take(first.take(pc.sort_indices(first)))).combine_chunks()


def _read_table(path: Path) -> tuple[pa.Table | None, dict[str, Any]]:
    import pyarrow as pa

    if not path.exists():
        return None, {}
    remedy = "Delete it: it is built again from the segments."
    try:
        table = read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The table {path} is damaged: {error}", remedy=remedy) from error
    metadata = table.schema.metadata or {}
    table = _with_new_columns(table)
    if _BOOK not in metadata or not table.schema.equals(execution_schema()):
        raise DataError(f"The table {path} is not one that this version wrote.", remedy=remedy)
    # Parquet renames the items of lists, which would change the bytes of the next file.
    return table.replace_schema_metadata(None).cast(execution_schema()), json.loads(metadata[_BOOK])


def _with_new_columns(table: pa.Table) -> pa.Table:
    """Return the table of an older release with the columns that came since, empty."""
    import pyarrow as pa

    schema = execution_schema()
    if any(name not in schema.names for name in table.column_names):
        return table
    missing = [field for field in schema if field.name not in table.column_names and field.nullable]
    for field in missing:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select([name for name in schema.names if name in table.column_names])


def _write_table(path: Path, table: pa.Table, book: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    metadata = {_BOOK: json.dumps(book, sort_keys=True).encode(), _VERSION: b"1"}
    with replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            temporary,
            compression="zstd",
            write_page_checksum=True,
        )
