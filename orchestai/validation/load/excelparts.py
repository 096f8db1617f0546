"""The parts of a workbook beside its cells: sheets, shared texts, and which number formats are dates."""

from __future__ import annotations

import posixpath
import re
import zipfile
from dataclasses import dataclass
from typing import IO, Any
from xml.parsers import expat

from orchestai.errors import DataError
from orchestai.validation.load.limits import Limits, too_large

# Built-in formats that show a number as a date or time: ECMA-376 part 1, 18.8.30.
_DATE_FORMATS = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
_STRING_OVERHEAD = 64


@dataclass(frozen=True)
class Workbook:
    """What is needed to read the cells.

    Attributes:
        sheets: Archive member of each sheet, by its name, in order.
        texts: The shared texts.
        dates: For each cell style whether it shows a date.
        from_1904: The days count from 1904 instead of 1900.
    """

    sheets: dict[str, str]
    texts: list[str]
    dates: list[bool]
    from_1904: bool


def parse_xml(stream: IO[bytes], start: Any, end: Any = None, text: Any = None) -> None:
    """Run expat over a stream, with no entity but XML's own five.

    Raises:
        DataError: The XML declares a document type: the way to bombs and to other files.
    """
    parser = new_parser(start, end, text)
    while block := stream.read(1 << 16):
        parser.Parse(block, False)
    parser.Parse(b"", True)


def new_parser(start: Any, end: Any = None, text: Any = None) -> expat.XMLParserType:
    """Return an expat parser that refuses document types; see `parse_xml`."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    if end is not None:
        parser.EndElementHandler = end
    if text is not None:
        parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    return parser


def _refuse(*declaration: Any) -> int:
    raise DataError(
        "The workbook's XML declares a document type or an entity, which no spreadsheet program writes.",
        remedy="Don't trust this file.",
    )


def local(name: str) -> str:
    """Return an element's or attribute's name without its namespace's prefix."""
    return name.rpartition(":")[2]


def open_workbook(archive: zipfile.ZipFile, limits: Limits) -> Workbook:
    """Read what stands beside the cells.

    Raises:
        DataError: A part is missing, crafted or takes more memory than allowed.
    """
    names = set(archive.namelist())
    targets: dict[str, str] = {}
    ids: dict[str, str] = {}
    from_1904 = False

    def relation(name: str, attributes: dict[str, str]) -> None:
        if local(name) == "Relationship" and attributes.get("TargetMode") != "External":
            path = attributes.get("Target", "")
            targets[attributes.get("Id", "")] = (
                path.lstrip("/") if path.startswith("/") else posixpath.normpath(f"xl/{path}")
            )

    def part(name: str, attributes: dict[str, str]) -> None:
        nonlocal from_1904
        if local(name) == "sheet":
            link = next((value for key, value in attributes.items() if local(key) == "id" and ":" in key), "")
            ids[attributes.get("name", "")] = link
        elif local(name) == "workbookPr":
            from_1904 = attributes.get("date1904") in ("1", "true")

    for member, handler in (("xl/_rels/workbook.xml.rels", relation), ("xl/workbook.xml", part)):
        if member not in names:
            raise DataError(f"The workbook lacks its part {member}.", remedy="Save it again as .xlsx.")
        with archive.open(member) as stream:
            parse_xml(stream, handler)
    # A chart sheet's part has no cells; only members of this archive count, whatever a relation says.
    sheets = {name: targets[link] for name, link in ids.items() if targets.get(link, "").startswith("xl/worksheets/")}
    sheets = {name: member for name, member in sheets.items() if member in names}
    texts = _texts(archive, limits) if "xl/sharedStrings.xml" in names else []
    dates = _dates(archive) if "xl/styles.xml" in names else []
    return Workbook(sheets, texts, dates, from_1904)


def _texts(archive: zipfile.ZipFile, limits: Limits) -> list[str]:
    texts: list[str] = []
    pieces: list[str] = []
    inside: list[str] = []
    size = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        inside.append(local(name))

    def text(content: str) -> None:
        nonlocal size
        # Phonetic hints (rPh) are no part of the text.
        if inside[-1] == "t" and "rPh" not in inside:
            pieces.append(content)
            size += len(content)

    def end(name: str) -> None:
        nonlocal size
        inside.pop()
        if local(name) == "si":
            texts.append("".join(pieces))
            pieces.clear()
            size += _STRING_OVERHEAD
        if size > limits.max_bytes:
            raise too_large("The workbook's shared texts take more memory than allowed", limits)

    with archive.open("xl/sharedStrings.xml") as stream:
        parse_xml(stream, start, end, text)
    return texts


def _dates(archive: zipfile.ZipFile) -> list[bool]:
    custom: dict[int, bool] = {}
    styles: list[int] = []
    inside: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        inside.append(local(name))
        if inside[-1] == "numFmt":
            # Text in quotes, colours and escapes are left aside: "d" in [Red] is no day.
            code = re.sub(r'"[^"]*"|\[(?![hms]+\])[^\]]*\]|\\.|_.|\*.', "", attributes.get("formatCode", ""))
            custom[int(attributes.get("numFmtId", "0"))] = bool(re.search(r"[dmyhs]", code.lower()))
        elif inside[-1] == "xf" and "cellXfs" in inside:
            styles.append(int(attributes.get("numFmtId", "0")))

    with archive.open("xl/styles.xml") as stream:
        parse_xml(stream, start, lambda name: inside.pop())
    return [custom.get(number, number in _DATE_FORMATS) for number in styles]
