"""CSV and TSV: two passes over blocks of text, so that no more than a block is ever in memory."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.casting import ColumnType, to_type
from orchestai.validation.load.encoding import Encoding, Utf8Stream, open_text
from orchestai.validation.load.limits import MIB, Limits, Options
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import PreadFile

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 8 * MIB


def scan_delimited(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass: names, types, rows, and the lines that have too few or too many fields.

    Raises:
        DataError: A quote that is never closed, a line longer than 8 MiB, or too many columns.
    """
    import pyarrow as pa

    names = _header(file, options, scan)
    options.limits.check_shape(0, len(names), "The header")
    if scan.detail["encoding"][2] % 2:
        _refuse_open_quote(file, scan)
    columns = [ColumnType(name, options.wanted(name)) for name in names]
    ragged: list[tuple[int, int, int]] = []
    counted = 0

    def invalid(row: Any) -> str:
        nonlocal counted
        counted += 1
        if len(ragged) < options.limits.max_rejected:
            ragged.append((row.number, row.expected_columns, row.actual_columns))
        return "skip"

    blanks = 0
    for batch in _text_batches(file, options, scan, len(names), invalid):
        scan.rows += batch.num_rows
        options.limits.check_shape(scan.rows, len(names), "The file")
        for column, values in zip(columns, batch.columns, strict=True):
            column.add(values)
        if len(names) == 1:
            blanks += batch.column(0).null_count
    _list_ragged(file, scan, ragged, counted, options.limits)
    for column in columns:
        for note in column.notes:
            scan.note(note)
    if blanks:
        scan.note(f"{blanks:,} blank or null lines of the only column are kept as nulls")
    scan.schema = pa.schema([pa.field(column.name, column.result()) for column in columns])


def stream_delimited(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass: the same rows with the types that the first found.

    Args:
        file: The file.
        options: What the caller wants.
        scan: What the first pass found.
        rows: Rows of a batch at most.
    """
    import pyarrow as pa

    schema = scan.schema
    assert schema is not None
    for batch in _text_batches(file, options, scan, len(schema), lambda row: "skip"):
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            arrays = []
            for field, values in zip(schema, part.columns, strict=True):
                try:
                    arrays.append(to_type(values, field.type))
                except pa.ArrowInvalid as error:
                    raise DataError(
                        f"Column {field.name!r} does not fit the declared type {field.type}: {error}",
                        remedy="Declare another type in `types`, or none.",
                    ) from error
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _encoding(scan: Scan) -> Encoding:
    name, mark, quotes = scan.detail["encoding"]
    return Encoding(name, mark, quotes)


def _rows(file: PreadFile, scan: Scan, *, strict: bool = False) -> Any:
    """Return the csv module's reader: slower than Arrow's, but it knows the lines."""
    csv.field_size_limit(max(csv.field_size_limit(), BLOCK))
    text = open_text(file, _encoding(scan))
    return csv.reader(text, delimiter=scan.detail["delimiter"], strict=strict)


def _header(file: PreadFile, options: Options, scan: Scan) -> list[str]:
    first: list[str] = next((row for row in _rows(file, scan) if row), [])
    if not options.header:
        return [f"column_{place + 1}" for place in range(len(first))]
    names = [name.strip() or f"column_{place + 1}" for place, name in enumerate(first)]
    if not all(name.strip() for name in first):
        scan.note("columns without a name are called by their place: column_1, column_2, ...")
    if first and sum(_is_value(name) for name in first) > len(first) / 2:
        scan.note("the first line looks like values, and is taken as the header; say `header=False` if it is a row")
    return names


def _is_value(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text_batches(file: PreadFile, options: Options, scan: Scan, width: int, invalid: Any) -> Iterator[pa.RecordBatch]:
    """Give the records as text, header and invalid ones left out."""
    import pyarrow as pa
    import pyarrow.csv as pc

    names = [str(place) for place in range(width)]
    # Arrow reads a record only if it ends within the next block; whatever is longer is no table.
    read = pc.ReadOptions(use_threads=False, column_names=names, block_size=BLOCK)
    # A blank line is no record, except where a record has one field: there it is the null that pandas writes.
    parse = pc.ParseOptions(
        delimiter=scan.detail["delimiter"],
        newlines_in_values=True,
        invalid_row_handler=invalid,
        ignore_empty_lines=width != 1,
    )
    convert = pc.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=list(options.nulls),
    )
    source = pa.PythonFile(Utf8Stream(file, _encoding(scan)), mode="r")
    try:
        reader = pc.open_csv(source, read_options=read, parse_options=parse, convert_options=convert)
        header = 1 if options.header else 0
        for batch in reader:
            if header and width == 1:
                # Blank lines before the header of a single column are no rows either.
                while header < batch.num_rows and not batch.column(0)[header - 1].is_valid:
                    header += 1
            yield batch.slice(header)
            header = 0
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error) and "out of sync" not in str(error):
            raise
        raise DataError(
            f"A line is longer than {BLOCK:,} bytes, or a quote that opens is never closed.",
            remedy="Check the quotes; a quote within a value is written twice.",
        ) from error


def _list_ragged(file: PreadFile, scan: Scan, ragged: list[tuple[int, int, int]], counted: int, limits: Limits) -> None:
    """List the invalid records by the line they start in: Arrow counts records, whose lines are not all one."""
    if not counted:
        return
    scan.rejected_rows = counted
    wanted = {number: (expected, actual) for number, expected, actual in ragged}
    rows, record, line = _rows(file, scan), 0, 0
    single = scan.schema is None and all(expected == 1 for _, expected, _ in ragged)
    for row in rows:
        start, line = line + 1, rows.line_num
        if not row and not single:
            continue
        record += 1
        if record in wanted:
            expected, actual = wanted.pop(record)
            from_here = min(expected, actual) + 1
            scan.rejected_rows -= 1
            scan.reject(start, from_here, f"{actual} fields instead of {expected}", limits)
            if not wanted:
                break
    scan.note(f"{counted:,} lines with too few or too many fields are left out; see `rejected`")


def _refuse_open_quote(file: PreadFile, scan: Scan) -> None:
    """Look for a quote that opens and never closes: Arrow would take the rest of the file as one value.

    Raises:
        DataError: There is one; an odd number of quotes alone is no fault (5" pipe).
    """
    rows, line = _rows(file, scan, strict=True), 0
    while True:
        try:
            if next(rows, None) is None:
                return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(
                    f"The record in line {line + 1:,} opens a quote that is never closed.",
                    remedy="Close it; a quote within a value is written twice.",
                ) from error
        line = rows.line_num
