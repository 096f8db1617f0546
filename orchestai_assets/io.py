"""How the assets read their tables and show what came of them."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestai.errors import DataError
from orchestai.logs.parquet import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 5
_CELL_CHARS = 120


def read_table(paths: Sequence[Path], columns: Sequence[str] | None = None) -> "pa.Table":
    """Read Parquet files as one table, their checksums verified.

    Raises:
        DataError: There is no file, or one is damaged.
    """
    import pyarrow as pa

    if not paths:
        raise DataError("There is no table to read.", remedy="Materialise the upstream asset first.")
    tables = []
    for path in paths:
        try:
            tables.append(read_parquet(path, columns))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"The table {path} cannot be read: {error}.", remedy="Materialise it again.") from error
    return pa.concat_tables(tables, promote_options="default")


def column_schema(schema: "pa.Schema", descriptions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Return what the UI shows as the columns of a table."""
    known = descriptions or {}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=str(field.type),
                description=known.get(field.name),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def sample(table: "pa.Table", columns: Sequence[str], rows: int = SAMPLE_ROWS) -> dg.MetadataValue:
    """Return the last rows of a table, their cells cut to a readable length."""
    tail = table.select(list(columns)).slice(max(table.num_rows - rows, 0))
    return records(tail.to_pylist())


def records(rows: Iterable[Mapping[str, Any]]) -> dg.MetadataValue:
    """Return rows as a table of the UI; all rows have the same columns."""
    cells = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows]
    if not cells:
        return dg.MetadataValue.text("no rows")
    names = list(cells[0].data)
    kinds = {name: _kind(value) for record in reversed(cells) for name, value in record.data.items()}
    schema = dg.TableSchema(columns=[dg.TableColumn(name, kinds[name]) for name in names])
    return dg.MetadataValue.table(cells, schema=schema)


def picture(png: bytes, alt: str) -> dg.MetadataValue:
    """Return a plot that the UI shows; it travels inside the metadata, so that it needs no file server."""
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})")


def file_hash(*paths: Path) -> str:
    """Return the hash over the content of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, date | datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _CELL_CHARS else f"{text[: _CELL_CHARS - 1]}…"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "string"
