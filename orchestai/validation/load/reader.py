"""Both passes over a file of any format; runs in the confined process, and knows nothing of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestai.errors import DataError
from orchestai.validation.load.arrowfile import (
    rows_of_a_batch,
    scan_arrow,
    scan_parquet,
    stream_arrow,
    stream_parquet,
)
from orchestai.validation.load.boundary import reading
from orchestai.validation.load.columns import final_batch, final_schema, image_columns
from orchestai.validation.load.delimited import scan_delimited, stream_delimited
from orchestai.validation.load.excel import scan_excel, stream_excel
from orchestai.validation.load.hdf5 import scan_hdf5, stream_hdf5
from orchestai.validation.load.jsontext import scan_document, scan_lines, stream_document, stream_lines
from orchestai.validation.load.limits import Options
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import PreadFile
from orchestai.validation.load.sniff import find_format

if TYPE_CHECKING:
    import pyarrow as pa


class Format(NamedTuple):
    """The two passes of a format."""

    scan: Callable[[PreadFile, Options, Scan], None]
    stream: Callable[[PreadFile, Options, Scan, int], Iterator[pa.RecordBatch]]


_READERS = {
    "csv": Format(scan_delimited, stream_delimited),
    "tsv": Format(scan_delimited, stream_delimited),
    "json": Format(scan_document, stream_document),
    "jsonl": Format(scan_lines, stream_lines),
    "parquet": Format(scan_parquet, stream_parquet),
    "arrow": Format(scan_arrow, stream_arrow),
    "arrow_stream": Format(scan_arrow, stream_arrow),
    "hdf5": Format(scan_hdf5, stream_hdf5),
    "excel": Format(scan_excel, stream_excel),
}


def scan_file(file: PreadFile, options: Options) -> Scan:
    """First pass: what the file is, and everything about it but its values.

    Raises:
        DataError: It is damaged, dangerous, no table, or more than the limits allow.
    """
    scan = Scan()
    with reading("The file", options.limits):
        scan.detail["format"] = find_format(file, options, scan)
        _READERS[scan.detail["format"]].scan(file, options, scan)
        assert scan.schema is not None
        missing = sorted(set(options.types) - set(scan.schema.names))
        if missing:
            raise DataError(
                f"`types` names columns that the file does not have: {', '.join(missing[:10])}.",
                remedy=f"It has: {', '.join(scan.schema.names[:20])}.",
            )
        scan.detail.setdefault("row_bytes", 8 * max(1, len(scan.schema)))
        final = final_schema(scan.schema, options.flatten, options.limits, scan.notes)
        if not len(final):
            raise DataError("The file has no column.", remedy="Write at least a header.")
        if not scan.rows:
            scan.note("there is no row")
        if any(str(field.type) == "string" for field in final) and scan.rows:
            first = next(_final_batches(file, options, scan, 100), None)
            for name in image_columns(first) if first is not None else []:
                scan.note(f"column {name!r} holds paths of images: they are kept as text, and not opened")
    return scan


def stream_file(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass: the values, in batches of at most `rows` rows, fewer where rows are wide.

    Raises:
        DataError: The file is damaged, or takes more memory than allowed.
    """
    with reading("The file", options.limits):
        yield from _final_batches(file, options, scan, rows_of_a_batch(scan, rows), whole=True)


def _final_batches(
    file: PreadFile, options: Options, scan: Scan, rows: int, *, whole: bool = False
) -> Iterator[pa.RecordBatch]:
    assert scan.schema is not None
    schema = final_schema(scan.schema, options.flatten, options.limits, [])
    given = 0
    for batch in _READERS[scan.detail["format"]].stream(PreadFile(file.fd), options, scan, rows):
        given += batch.num_rows
        if given > scan.rows:
            break
        if batch.num_rows:
            batch.validate(full=True)
            yield final_batch(batch, schema, options.flatten)
    if whole and given != scan.rows:
        raise DataError(
            f"The file declares {scan.rows:,} rows and holds {'more' if given > scan.rows else f'{given:,}'}.",
            remedy="Write it again, and copy it whole.",
        )


# What `frames` writes: a kind, the length of what follows, and that: JSON, or one batch as an Arrow stream.
FRAME = struct.Struct(">cQ")
SCAN, BATCH, ERROR, DONE = b"S", b"B", b"E", b"D"
