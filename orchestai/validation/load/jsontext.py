"""JSON documents and JSON lines: records of any shape, made columns."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.encoding import Encoding, open_text
from orchestai.validation.load.limits import BATCH_BYTES, MIB, Options, too_large
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.shape import Shape, to_batch
from orchestai.validation.load.snapshot import PreadFile

if TYPE_CHECKING:
    import pyarrow as pa

LINE = 64 * MIB
# What Python objects take for each byte of a JSON document, measured on documents of short numbers.
_OBJECT_BYTES = 8
Record = dict[str, Any]


def scan_lines(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass over JSON lines: the common shape of the records, and the lines that hold none."""
    _scan(_line_records(file, options, scan, listing=True), options, scan)
    if scan.rejected_rows:
        scan.note(f"{scan.rejected_rows:,} lines that hold no JSON object are left out; see `rejected`")


def stream_lines(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass over JSON lines."""
    yield from _batches(_line_records(file, options, scan, listing=False), scan, rows)


def scan_document(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass over a document: an array of records, an object of columns, or one record."""
    _scan(_document_records(file, options, scan), options, scan)


def stream_document(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass over a document."""
    yield from _batches(_document_records(file, options, scan), scan, rows)


def _scan(records: Iterator[tuple[Record, int]], options: Options, scan: Scan) -> None:
    import pyarrow as pa

    shape = Shape(options.limits)
    for record, _ in records:
        scan.rows += 1
        shape.add(record)
    options.limits.check_shape(scan.rows, len(shape.fields), "The file")
    notes: list[str] = []
    fields = []
    for name, inner in shape.fields.items():
        declared = options.wanted(name)
        fields.append(pa.field(name, inner.to_arrow(notes) if declared is None else declared))
    for note in notes:
        scan.note(note)
    scan.schema = pa.schema(fields)


def _batches(records: Iterator[tuple[Record, int]], scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    assert scan.schema is not None
    waiting: list[Record] = []
    size = 0
    for record, length in records:
        waiting.append(record)
        size += length
        if len(waiting) >= rows or size >= BATCH_BYTES:
            yield to_batch(waiting, scan.schema)
            waiting, size = [], 0
    if waiting:
        yield to_batch(waiting, scan.schema)


def _open(file: PreadFile, scan: Scan) -> io.TextIOWrapper:
    name, mark, quotes = scan.detail["encoding"]
    # Within JSON a lone carriage return is white space and ends no line.
    return open_text(file, Encoding(name, mark, quotes), newline="\n")


def _line_records(file: PreadFile, options: Options, scan: Scan, *, listing: bool) -> Iterator[tuple[Record, int]]:
    limits = options.limits
    decode = _decoder(scan)
    with _open(file, scan) as text:
        line = 0
        while True:
            content = text.readline(LINE + 1)
            if not content:
                return
            line += 1
            if len(content) > LINE:
                raise DataError(
                    f"Line {line:,} is longer than {LINE:,} characters.", remedy="Write one record in each line."
                )
            if not content.strip():
                continue
            try:
                record = decode(content)
                column, reason = 1, f"a JSON {type(record).__name__}, not an object"
            except json.JSONDecodeError as error:
                record, column, reason = None, error.colno, error.msg
            except RecursionError:
                record, column, reason = None, 1, "nested too deeply"
            except ValueError as error:
                record, column, reason = None, 1, str(error)
            if isinstance(record, dict):
                yield record, len(content)
            elif listing:
                scan.reject(line, column, reason, limits)


def _document_records(file: PreadFile, options: Options, scan: Scan) -> Iterator[tuple[Record, int]]:
    if file.size * _OBJECT_BYTES > options.limits.max_bytes:
        raise too_large(
            f"A JSON document is read whole, and {file.size:,} bytes of it take about {file.size * _OBJECT_BYTES:,} "
            "(JSONL does not need that)",
            options.limits,
        )
    with _open(file, scan) as text:
        content = text.read()
    try:
        found = _decoder(scan)(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"The JSON breaks at line {error.lineno:,}, column {error.colno:,}: {error.msg}.",
            remedy="Write the file again, and copy it whole.",
        ) from error
    for record in _records(found, scan):
        yield record, _size(record)


def _size(record: Record) -> int:
    """Return about how many bytes a record takes: that of its texts, and a word for anything else."""
    return sum(len(value) if isinstance(value, str) else 8 for value in record.values())


def _records(found: Any, scan: Scan) -> Iterator[Record]:
    if isinstance(found, dict):
        lists = {name: value for name, value in found.items() if isinstance(value, list)}
        if len(lists) == 1 and all(isinstance(item, dict) for item in next(iter(lists.values()))) and lists:
            name, found = next(iter(lists.items()))
            scan.note(f"the records are those under {name!r}; what stands beside it is left out")
        elif lists and len(lists) == len(found) and len({len(value) for value in lists.values()}) == 1:
            scan.note("an object of lists of one length is read as columns")
            yield from (dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True))
            return
        else:
            found = [found]
    if not isinstance(found, list):
        raise DataError(f"The JSON is one {type(found).__name__}, not a table.", remedy="Write an array of objects.")
    if all(isinstance(item, dict) for item in found):
        yield from found
    elif all(isinstance(item, list) for item in found):
        scan.note("an array of arrays is read as rows; the columns are called by their place")
        yield from ({f"column_{place + 1}": value for place, value in enumerate(item)} for item in found)
    else:
        scan.note("an array of plain values is read as one column 'value'")
        yield from ({"value": item} for item in found)


def _decoder(scan: Scan) -> Callable[[str], Any]:
    """Return a decoder that notes names that occur twice in an object, and numbers that are none in JSON."""

    def pairs(found: list[tuple[str, Any]]) -> Record:
        record = dict(found)
        if len(record) != len(found):
            scan.note("an object has a name twice: its last value is used")
        return record

    def constant(name: str) -> float:
        scan.note("NaN or Infinity, which JSON does not have, is read as such")
        return float(name)

    def number(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            scan.note("numbers beyond 1.8e308 became infinite")
        return value

    def integer(text: str) -> int | float:
        # Python refuses to parse numbers of thousands of digits, whose cost grows with the square.
        return number(text) if len(text) > sys.int_info.default_max_str_digits else int(text)

    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_constant=constant, parse_float=number, parse_int=integer
    ).decode
