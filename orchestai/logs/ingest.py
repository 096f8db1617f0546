"""Closed segments become one Parquet table a day; ingesting again, or bit by bit, changes nothing.

What was read is written into the table itself (schema metadata `orchestai.segments`), so that a segment is
parsed once and the table can never disagree with its own bookkeeping.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.contracts.base import Record
from orchestai.errors import DataError
from orchestai.logs.columns import KEY, execution_row, execution_schema
from orchestai.logs.files import replacing, storage_error
from orchestai.logs.quarantine import BadLine, count_reasons, write_quarantine
from orchestai.logs.reader import iter_segment
from orchestai.logs.segments import closed_segments

if TYPE_CHECKING:
    import pyarrow as pa

_BOOK = b"orchestai.segments"
_VERSION = b"orchestai.schema_version"


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


def ingest_day(directory: Path, day: date, out: Path, quarantine: Path) -> IngestReport:
    """Bring the table of `day` up to date with its closed segments and plain daily file.

    Of lines with the same execution id, attempt and sequence one is kept, the same one in whatever order
    they come. Lines that are no records go to `quarantine/<day>/<segment>.bad.jsonl`. Rows of segments that
    have been deleted since stay. Not for two processes at once on the same day.

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
    table, book = _read_table(path)
    known = table.num_rows if table is not None else 0
    folder = quarantine / day.isoformat()
    fresh = []
    rows: list[dict[str, Any]] = []
    for segment in closed_segments(directory, day):
        digest = _digest(segment)
        if book.get(segment.name, {}).get("sha256") == digest:
            continue
        good, bad = _read(segment)
        rows += good
        write_bad_lines(folder, segment, bad)
        book[segment.name] = {"sha256": digest, "records": len(good), "bad": _reasons(bad)}
        fresh.append(segment)
    if fresh or table is None:
        table = _merge(table, rows)
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


def _read(segment: Path) -> tuple[list[dict[str, Any]], list[BadLine]]:
    good, bad = [], []
    for item in iter_segment(segment):
        if isinstance(item, BadLine):
            bad.append(item)
        else:
            good.append(execution_row(item, segment.name))
    return good, bad


def _reasons(bad: list[BadLine]) -> dict[str, int]:
    return dict(sorted(Counter(line.reason for line in bad).items()))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise storage_error("read", path, error) from error


def _merge(table: pa.Table | None, rows: list[dict[str, Any]]) -> pa.Table:
    """Return old and new rows, each key once, in an order that only the rows themselves decide."""
    import pyarrow as pa

    merged = pa.Table.from_pylist(rows, schema=execution_schema())
    if table is not None:
        merged = pa.concat_tables([table, merged])
    names = ("timestamp", *KEY, "content_sha256", "segment")
    columns = [merged[name].cast(pa.int64()) if name == "timestamp" else merged[name] for name in names]
    order = sorted(range(merged.num_rows), key=list(zip(*(c.to_pylist() for c in columns), strict=True)).__getitem__)
    keys = list(zip(*(merged[name].to_pylist() for name in KEY), strict=True))
    chosen: dict[tuple[Any, ...], int] = {}
    for row in order:
        chosen.setdefault(keys[row], row)
    return merged.take(pa.array(list(chosen.values()), pa.int64())).combine_chunks()


def _read_table(path: Path) -> tuple[pa.Table | None, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return None, {}
    remedy = "Delete it: it is built again from the segments."
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The table {path} is damaged: {error}", remedy=remedy) from error
    metadata = table.schema.metadata or {}
    if _BOOK not in metadata or not table.schema.equals(execution_schema()):
        raise DataError(f"The table {path} is not one that this version wrote.", remedy=remedy)
    # Parquet renames the items of lists, which would change the bytes of the next file.
    return table.replace_schema_metadata(None).cast(execution_schema()), json.loads(metadata[_BOOK])


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
