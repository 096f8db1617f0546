"""Parquet files, and Arrow files and streams: checked against their own declarations, then batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.limits import BATCH_BYTES, Options
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import PreadFile

if TYPE_CHECKING:
    import pyarrow as pa

# Thrift, in which a Parquet footer is written, holds lists whose declared length is believed: both are bounded.
_THRIFT_STRINGS = 64 << 20
_THRIFT_ITEMS = 4_000_000


def scan_parquet(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass: the footer only; the pages are checked when they are read.

    Raises:
        DataError: No footer (the file is cut off), or it declares more than allowed.
    """
    if file.tail(4) != b"PAR1":
        raise DataError("The Parquet file has no end: it is cut off, or still being written.", remedy="Write it again.")
    parquet = _parquet(file)
    meta = parquet.metadata
    limits = options.limits
    limits.check_shape(meta.num_rows, meta.num_columns, "The Parquet file")
    limits.check_shape(0, len(parquet.schema_arrow), "The Parquet file")
    largest = 0
    for place in range(meta.num_row_groups):
        group = meta.row_group(place)
        limits.check_shape(group.num_rows, group.num_columns, f"Row group {place}")
        for column in range(group.num_columns):
            chunk = group.column(column)
            if not 0 <= chunk.total_compressed_size <= file.size:
                raise DataError(
                    f"A column of row group {place} declares {chunk.total_compressed_size:,} bytes in a file of "
                    f"{file.size:,}.",
                    remedy="The footer is damaged or crafted.",
                )
            largest = max(largest, chunk.total_uncompressed_size)
    limits.check_bytes(largest, "The largest column of a row group")
    _set_schema(scan, parquet.schema_arrow, options)
    scan.rows = meta.num_rows


def stream_parquet(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass: the pages, with their checksums where they have any."""
    yield from _parquet(file).iter_batches(batch_size=rows, use_threads=False)


def _parquet(file: PreadFile) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.PythonFile(file, mode="r"),
        # A small buffer, and no reading ahead of whole row groups: memory stays that of a page and a batch.
        buffer_size=1 << 20,
        pre_buffer=False,
        thrift_string_size_limit=_THRIFT_STRINGS,
        thrift_container_size_limit=_THRIFT_ITEMS,
        page_checksum_verification=True,
        arrow_extensions_enabled=False,
    )


def scan_arrow(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass: every batch is decoded and validated, for Arrow trusts the offsets in a file blindly."""
    schema, batches = _ipc(file)
    options.limits.check_shape(0, len(schema), "The Arrow file")
    for batch in batches:
        scan.rows += batch.num_rows
        options.limits.check_shape(scan.rows, batch.num_columns, "The Arrow file")
        options.limits.check_bytes(batch.nbytes, "A record batch")
        batch.validate(full=True)
    _set_schema(scan, schema, options)


def stream_arrow(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass over an Arrow file or stream."""
    for batch in _ipc(file)[1]:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _ipc(file: PreadFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow as pa

    source = pa.PythonFile(file, mode="r")
    if not file.head(6).startswith(b"ARROW1"):
        stream = pa.ipc.open_stream(source)
        return stream.schema, iter(stream)
    whole = pa.ipc.open_file(source)
    return whole.schema, (whole.get_batch(place) for place in range(whole.num_record_batches))


def _set_schema(scan: Scan, schema: pa.Schema, options: Options) -> None:
    """Keep names and types; metadata and extension types, by which a file could steer later readers, are dropped."""
    import pyarrow as pa

    fields = []
    for field in schema:
        kind = field.type
        if isinstance(kind, pa.BaseExtensionType):
            scan.note(
                f"column {field.name!r}: the extension type {kind.extension_name!r} is read as {kind.storage_type}"
            )
            kind = kind.storage_type
        declared = options.wanted(field.name)
        fields.append(pa.field(field.name, kind if declared is None else declared))
    scan.schema = pa.schema(fields)
    scan.detail["row_bytes"] = max(1, len(fields)) * 8


def rows_of_a_batch(scan: Scan, rows: int) -> int:
    """Return how many rows a batch may have so that a wide table's batch stays within `BATCH_BYTES`."""
    return max(1, min(rows, BATCH_BYTES // int(scan.detail.get("row_bytes", 8))))
