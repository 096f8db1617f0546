"""Writers of the formats that no library at hand writes, and small tables."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow as pa
import pytest

_RELS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
)
_BOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'
)
_STYLES = '<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'


def _cell(value: object) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value!r}</v></c>"
    text = str(value)
    if text.startswith("<"):
        return text
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


@pytest.fixture(scope="session")
def write_xlsx() -> Callable[..., None]:
    """Return a writer: rows of values (or of a cell's XML), a prologue of the sheet, and more parts."""

    def write(path: Path, rows: list[list[object]], prologue: str = "", parts: dict[str, str] | None = None) -> None:
        body = "".join(f"<row>{''.join(_cell(value) for value in row)}</row>" for row in rows)
        members = {
            "[Content_Types].xml": "<Types/>",
            "xl/workbook.xml": _BOOK,
            "xl/_rels/workbook.xml.rels": _RELS,
            "xl/styles.xml": _STYLES,
            "xl/worksheets/sheet1.xml": f"{prologue}<worksheet><sheetData>{body}</sheetData></worksheet>",
            **(parts or {}),
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


@pytest.fixture(scope="session")
def small() -> pa.Table:
    return pa.table({"id": [1, 2, 3], "score": [0.5, None, -1e308], "name": ["a", 'é, "q"\nx', None]})
