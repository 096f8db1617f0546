"""Tables are read whole or not at all, and shown so that the UI can draw them."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.app.json_files import read_json, write_json
from orchestai.errors import DataError
from orchestai_assets.io import column_schema, file_hash, picture, read_table, records, sample
from orchestai_assets.plots import balance, executions_by_hour

PNG = b"\x89PNG\r\n\x1a\n"


def test_tables_of_several_days_are_read_as_one(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        pq.write_table(pa.table({"x": [value], "y": [name]}), tmp_path / f"{name}.parquet")

    table = read_table(sorted(tmp_path.glob("*.parquet")), ["x"])

    assert table.to_pydict() == {"x": [1, 2]}


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"not parquet")

    with pytest.raises(DataError, match=r"bad\.parquet cannot be read.*Materialise it again"):
        read_table([path])


def test_no_table_is_an_error_with_a_remedy() -> None:
    with pytest.raises(DataError, match="Materialise the upstream asset first"):
        read_table([])


def test_columns_carry_name_type_and_nullability() -> None:
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("cost", pa.float64())])

    columns = column_schema(schema, {"cost": "Dollars."}).columns

    assert [(c.name, c.type, c.constraints.nullable, c.description) for c in columns] == [
        ("id", "string", False, None),
        ("cost", "double", True, "Dollars."),
    ]


def test_rows_become_a_table_with_readable_cells() -> None:
    value = records([{"n": 1, "names": ["a", "b"], "text": "x" * 500, "when": datetime(2026, 1, 2, tzinfo=UTC)}])

    assert isinstance(value, dg.TableMetadataValue)
    (row,) = [record.data for record in value.records]
    assert row["n"] == 1
    assert row["names"] == '["a", "b"]'
    assert len(str(row["text"])) == 120
    assert row["when"] == "2026-01-02T00:00:00+00:00"
    assert [(column.name, column.type) for column in value.schema.columns][:2] == [("n", "int"), ("names", "string")]


def test_no_rows_are_said_in_words() -> None:
    assert records([]).value == "no rows"


def test_the_sample_holds_the_last_rows() -> None:
    value = sample(pa.table({"x": list(range(9)), "y": ["-"] * 9}), ["x"])

    assert isinstance(value, dg.TableMetadataValue)
    assert [record.data for record in value.records] == [{"x": number} for number in (4, 5, 6, 7, 8)]


def test_a_picture_travels_inside_the_metadata() -> None:
    text = str(picture(PNG, "a plot").value)

    assert text.startswith("![a plot](data:image/png;base64,")
    assert base64.b64decode(text.split("base64,")[1].rstrip(")")) == PNG


def test_the_hash_depends_on_content_and_order(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_text("a")
    two.write_text("b")
    first = file_hash(one, two)

    assert first == file_hash(one, two)
    assert first != file_hash(two, one)
    two.write_text("c")
    assert first != file_hash(one, two)


def test_json_is_written_at_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_json(path, {"é": [1, None]})

    assert read_json(path) == {"é": [1, None]}
    assert list(path.parent.iterdir()) == [path]
    path.write_text("{")
    with pytest.raises(DataError, match=r"report\.json cannot be read"):
        read_json(path)


def test_plots_are_png() -> None:
    table = pa.table(
        {
            "timestamp": [datetime(2026, 1, 2, hour, tzinfo=UTC) for hour in (3, 3, 17)],
            "planner": ["rules", "learned", None],
        }
    )

    assert executions_by_hour(table).startswith(PNG)
    assert balance({"a": 2, "b": 1}, title="types").startswith(PNG)
