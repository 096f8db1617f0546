"""The cells of one sheet, row by row as its XML streams by."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import IO, NamedTuple

from orchestai.errors import DataError
from orchestai.validation.load.excelparts import Workbook, local, new_parser
from orchestai.validation.load.limits import MIB, Limits

MAX_ROW, MAX_COLUMN = 1_048_576, 16_384
# Excel cuts a cell at 32,767 characters; other programs write more, but not a book in a cell.
MAX_TEXT = MIB


class Cell(NamedTuple):
    """A cell's stored value, whether a formula made it, and whether it holds an error."""

    value: str | float | int | bool | dt.datetime | None
    formula: bool
    fault: bool


class _Sheet:
    """expat's handlers: they collect the rows that are complete.

    Args:
        book: Shared texts and styles.
    """

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self.ready: list[tuple[int, dict[int, Cell]]] = []
        self._row, self._place = 0, -1
        self._cells: dict[int, Cell] = {}
        self._kind, self._style = "n", 0
        self._inside: list[str] = []
        self._value: list[str] = []
        self._length = 0
        self._formula = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = local(name)
        self._inside.append(name)
        if name == "row":
            self._row = _bounded(attributes.get("r", str(self._row + 1)), MAX_ROW, "row")
            self._cells, self._place = {}, -1
        elif name == "c":
            reference = attributes.get("r")
            self._place = self._place + 1 if reference is None else _column(reference)
            self._kind = attributes.get("t", "n")
            self._style = int(attributes.get("s", "0"))
            self._value, self._length, self._formula = [], 0, False
        elif name == "f":
            self._formula = True

    def text(self, content: str) -> None:
        if self._inside[-1] == "v" or (self._inside[-1] == "t" and "is" in self._inside and "rPh" not in self._inside):
            self._length += len(content)
            if self._length > MAX_TEXT:
                raise DataError(f"A cell in row {self._row:,} holds more than {MAX_TEXT:,} characters.")
            self._value.append(content)

    def end(self, name: str) -> None:
        name = local(name)
        self._inside.pop()
        if name == "c":
            text = "".join(self._value)
            fault = self._kind == "e"
            value = None if fault or not (text or self._kind in ("str", "inlineStr")) else self._typed(text)
            if value is not None or self._formula or fault:
                self._cells[self._place] = Cell(value, self._formula, fault)
        elif name == "row":
            self.ready.append((self._row, self._cells))

    def _typed(self, text: str) -> str | float | int | bool | dt.datetime | None:
        if self._kind == "s":
            place = int(text)
            if not 0 <= place < len(self.book.texts):
                raise DataError(f"Row {self._row:,} names the shared text {place}, which does not exist.")
            return self.book.texts[place]
        if self._kind in ("str", "inlineStr"):
            return text if text or not self._formula else None
        if self._kind == "b":
            return text.strip() in ("1", "true")
        if self._kind == "d":
            return dt.datetime.fromisoformat(text.strip()).replace(tzinfo=None)
        number = float(text)
        if 0 <= self._style < len(self.book.dates) and self.book.dates[self._style]:
            return _date(number, self.book.from_1904)
        # Excel knows only floats; the text of whole ones has no point. Beyond 2^53 they are not exact anyway.
        return int(text) if text.strip().lstrip("+-").isdigit() and abs(number) < 2**53 else number


def read_sheet(stream: IO[bytes], book: Workbook, limits: Limits) -> Iterator[tuple[int, dict[int, Cell]]]:
    """Give each row's number and its cells by place, from 0.

    Raises:
        DataError: A row or column beyond Excel's own limits, or a text that does not exist.
    """
    sheet = _Sheet(book)
    parser = new_parser(sheet.start, sheet.end, sheet.text)
    # A row's texts can be shared ones, so that a small piece of XML makes a large row: pieces are small.
    while block := stream.read(1 << 16):
        parser.Parse(block, False)
        yield from sheet.ready
        sheet.ready.clear()
    parser.Parse(b"", True)
    yield from sheet.ready


def _bounded(text: str, limit: int, what: str) -> int:
    number = int(text)
    if not 1 <= number <= limit:
        raise DataError(f"The sheet names {what} {number:,}; Excel has {limit:,}.", remedy="The file is crafted.")
    return number


def _column(reference: str) -> int:
    number = 0
    for letter in reference[:4]:
        if not "A" <= letter <= "Z":
            break
        number = 26 * number + ord(letter) - 64
    return _bounded(str(number), MAX_COLUMN, "column") - 1


def _date(days: float, from_1904: bool) -> dt.datetime | None:
    """Return the day that a serial number stands for; Excel believes in a 29 February 1900, day 60."""
    if not math.isfinite(days):
        return None
    base = dt.datetime(1904, 1, 1) if from_1904 else dt.datetime(1899, 12, 30 if days >= 60 else 31)  # noqa: DTZ001
    try:
        return base + dt.timedelta(milliseconds=round(days * 86_400_000))
    except OverflowError:
        return None
