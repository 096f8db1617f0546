"""Reading a table from a file that nobody vouches for: any format, by content; safely; in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestai.errors import DataError
from orchestai.validation.load.isolate import scan_confined
from orchestai.validation.load.limits import NULLS, Limits, Options
from orchestai.validation.load.loaded import Loaded
from orchestai.validation.load.reader import scan_file
from orchestai.validation.load.scan import Rejected
from orchestai.validation.load.snapshot import open_snapshot
from orchestai.validation.load.sniff import FORMATS, format_of_name
from orchestai.validation.load.unpack import unpack

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMATS", "Limits", "Loaded", "Rejected", "load_table"]


def load_table(
    path: str | Path,
    *,
    format: str | None = None,
    limits: Limits | None = None,
    max_bytes: int | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    nulls: tuple[str, ...] = NULLS,
    types: Mapping[str, pa.DataType] | None = None,
    sheet: str | None = None,
    dataset: str | None = None,
    member: str | None = None,
    flatten: bool = True,
    isolate: bool = True,
) -> Loaded:
    """Open a table, say everything about it but its values, and be ready to read those.

    The file is parsed in a process that can open no other file and has limits on memory and CPU time. Nothing in it is
    ever executed, computed or followed.

    Args:
        path: A regular file: CSV, TSV, JSON, JSON lines, Parquet, Arrow (file or stream), HDF5 or Excel (.xlsx), as it
            is or compressed with gzip, bzip2, zstd or zip.
        format: What it is, one of `FORMATS`; by default its content says so. A name that says otherwise is noted.
        limits: What reading may take.
        max_bytes: Short for `Limits(max_bytes=...)`.
        encoding: Of a text file; by default its bytes say so: UTF-8, UTF-16, UTF-32 or cp1252.
        delimiter: Of CSV, one character; by default whichever of comma, tab, semicolon and bar fits.
        header: Whether the first line or row has the names.
        nulls: Texts that stand for null in CSV, where they are not quoted.
        types: Arrow types of columns by their name in the file; all others are inferred from all values.
        sheet: Of a workbook; the first by default.
        dataset: Of an HDF5 file; by default its one table, or all vectors and matrices of one length.
        member: Which file of a zip archive.
        flatten: Whether `{"a": {"b": 1}}` becomes a column `a.b`; lists stay lists.
        isolate: Whether to read in a process of its own; without it a crafted file may crash this one.

    Returns:
        What was found; its `table` and `batches` read the values.

    Raises:
        DataError: The file is missing, empty, damaged, dangerous, no table, or more than the limits allow; in lines of
            text single damaged ones are left out and listed instead.
    """
    if limits is None:
        limits = Limits()
    if max_bytes is not None:
        limits = replace(limits, max_bytes=max_bytes)
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'):
        raise DataError(f"`delimiter` must be one ASCII character, got {delimiter!r}.")
    promised = format_of_name(Path(path).name)
    options = Options(
        format=format,
        hint=promised,
        limits=limits,
        encoding=encoding,
        delimiter=delimiter,
        header=header,
        nulls=nulls,
        types=dict(types or {}),
        sheet=sheet,
        dataset=dataset,
        flatten=flatten,
    )
    source = open_snapshot(Path(path))
    notes: list[str] = []
    unpacked = unpack(source, limits, member, notes)
    try:
        scan = scan_confined(unpacked, options) if isolate else scan_file(unpacked.file(), options)
    except DataError:
        source.check_unchanged()
        raise
    source.check_unchanged()
    found = scan.detail["format"]
    if promised is not None and promised != found and {promised, found} not in ({"arrow", "arrow_stream"},):
        notes.append(f"the name says {promised}, the content is {found}: read as that")
    scan.notes[:0] = notes
    return Loaded(source, unpacked, scan, options, isolate)
