"""Excel sheets (.xlsx): the stored values of cells, read with expat as they stream by; nothing is computed."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.excelcells import Cell, read_sheet
from orchestai.validation.load.excelparts import Workbook, open_workbook
from orchestai.validation.load.limits import BATCH_BYTES, Options
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.shape import Shape, to_batch
from orchestai.validation.load.snapshot import PreadFile
from orchestai.validation.load.unpack import open_zip

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, Any]


def scan_excel(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass over a sheet: names from its first row that is not blank, the shape of each column.

    Raises:
        DataError: No such sheet, nothing in it, an XML bomb, or a part that is missing.
    """
    import pyarrow as pa

    archive = open_zip(file, options.limits)
    book = open_workbook(archive, options.limits)
    _notes(archive, book, options, scan)
    names: list[str] = []
    shapes: list[Shape] = []
    counts = _Counts()
    for number, cells in _rows(archive, book, options, scan):
        counts.add(cells)
        if not names:
            names = _names(cells, options, scan)
            options.limits.check_shape(0, len(names), "The sheet")
            shapes = [Shape(options.limits, name) for name in names]
            if options.header:
                continue
        beyond = [place for place, cell in cells.items() if place >= len(names) and cell.value is not None]
        if beyond:
            reason = f"a value beyond the {len(names)} columns of the header"
            scan.reject(number, min(beyond) + 1, reason, options.limits)
            continue
        scan.rows += 1
        for place, cell in cells.items():
            if place < len(shapes):
                shapes[place].add(cell.value)
    if not names:
        raise DataError("The sheet is empty.", remedy="Name another with `sheet=`.")
    counts.note(scan)
    notes: list[str] = []
    kinds = [options.wanted(name) or shape.to_arrow(notes) for name, shape in zip(names, shapes, strict=True)]
    for note in notes:
        scan.note(note)
    scan.schema = pa.schema([pa.field(name, kind) for name, kind in zip(names, kinds, strict=True)])


def stream_excel(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass over the same sheet."""
    import pyarrow as pa

    schema = scan.schema
    assert schema is not None
    width = len(schema)
    # Names may occur twice: records are kept by place, and get their names at the end.
    places = pa.schema([pa.field(str(place), field.type) for place, field in enumerate(schema)])
    archive = open_zip(file, options.limits)
    book = open_workbook(archive, options.limits)
    header = options.header
    waiting: list[Record] = []
    size = 0
    for _, cells in _rows(archive, book, options, scan):
        if header:
            header = False
            continue
        if any(place >= width and cell.value is not None for place, cell in cells.items()):
            continue
        record = {str(place): cell.value for place, cell in cells.items() if place < width}
        waiting.append(record)
        size += 8 * width + sum(len(value) for value in record.values() if isinstance(value, str))
        if len(waiting) >= rows or size >= BATCH_BYTES:
            yield pa.RecordBatch.from_arrays(to_batch(waiting, places).columns, schema=schema)
            waiting, size = [], 0
    if waiting:
        yield pa.RecordBatch.from_arrays(to_batch(waiting, places).columns, schema=schema)


class _Counts:
    """How many cells are not what they seem."""

    def __init__(self) -> None:
        self.formulas = self.unstored = self.faults = 0

    def add(self, cells: dict[int, Cell]) -> None:
        for cell in cells.values():
            self.formulas += cell.formula
            self.unstored += cell.formula and cell.value is None and not cell.fault
            self.faults += cell.fault

    def note(self, scan: Scan) -> None:
        if self.formulas:
            scan.note(f"{self.formulas:,} cells hold formulas: their stored values are used, nothing is computed")
        if self.unstored:
            scan.note(f"{self.unstored:,} formulas have no stored value and are null; save the file in a spreadsheet")
        if self.faults:
            scan.note(f"{self.faults:,} cells hold an error such as #DIV/0! and are null")
        if scan.rejected_rows:
            scan.note(f"{scan.rejected_rows:,} rows reach beyond the header and are left out; see `rejected`")


def _rows(
    archive: zipfile.ZipFile, book: Workbook, options: Options, scan: Scan
) -> Iterator[tuple[int, dict[int, Cell]]]:
    """Give the rows that hold anything, with their numbers."""
    name = scan.detail["sheet"]
    with archive.open(book.sheets[name]) as stream:
        for number, cells in read_sheet(stream, book, options.limits):
            if any(cell.value is not None or cell.formula for cell in cells.values()):
                yield number, cells


def _names(cells: dict[int, Cell], options: Options, scan: Scan) -> list[str]:
    width = max((place for place, cell in cells.items() if cell.value is not None), default=-1) + 1
    if not options.header:
        return [f"column_{place + 1}" for place in range(width)]
    names = []
    for place in range(width):
        value = cells[place].value if place in cells else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = value.isoformat() if isinstance(value, dt.datetime) else "" if value is None else str(value).strip()
        if not text:
            scan.note("columns without a name are called by their place: column_1, column_2, ...")
        names.append(text or f"column_{place + 1}")
    return names


def _notes(archive: zipfile.ZipFile, book: Workbook, options: Options, scan: Scan) -> None:
    if not book.sheets:
        raise DataError("The workbook has no sheet.", remedy="Save it again.")
    wanted = options.sheet if options.sheet is not None else next(iter(book.sheets))
    if wanted not in book.sheets:
        raise DataError(f"There is no sheet {wanted!r}.", remedy=f"There are: {', '.join(list(book.sheets)[:20])}.")
    scan.detail["sheet"] = wanted
    if len(book.sheets) > 1:
        scan.note(f"sheet {wanted!r} of {len(book.sheets)}; name another with `sheet=`")
    names = archive.namelist()
    if any(name.startswith("xl/externalLinks/") for name in names):
        scan.note("links to other workbooks are not followed")
    if any(name.endswith("vbaProject.bin") for name in names):
        scan.note("macros are not run")
