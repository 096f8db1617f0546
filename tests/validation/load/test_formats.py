"""Every format, plain and compressed, is read by its content to the same table."""

from __future__ import annotations

import bz2
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.errors import DataError
from orchestai.validation.load import load_table

WriteXlsx = Callable[..., None]


def write(path: Path, kind: str, table: pa.Table, write_xlsx: WriteXlsx) -> None:
    names, rows = table.column_names, table.to_pylist()
    if kind in ("csv", "tsv"):
        mark = "," if kind == "csv" else "\t"

        def cell(value: object) -> str:
            return (
                "" if value is None else '"' + value.replace('"', '""') + '"' if isinstance(value, str) else repr(value)
            )

        lines = [mark.join(names), *(mark.join(cell(row[name]) for name in names) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(table, path)
    elif kind in ("arrow", "arrow_stream"):
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table)
    elif kind == "excel":
        write_xlsx(path, [names, *([row[name] for name in names] for row in rows)])
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as root:
            for name in names:
                values = table[name].to_pylist()
                if pa.types.is_string(table[name].type):
                    root.create_dataset(name, data=values, dtype=h5py.string_dtype())
                else:
                    root[name] = table[name].to_numpy()


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet", "arrow", "arrow_stream", "excel"])
def test_a_format_comes_back_from_the_confined_process_whatever_its_name(
    kind: str, tmp_path: Path, small: pa.Table, write_xlsx: WriteXlsx
) -> None:
    path = tmp_path / "table.h5"
    write(path, kind, small, write_xlsx)
    found = load_table(path)
    assert found.format == kind
    assert found.rows == 3
    assert found.bytes == path.stat().st_size
    assert any("the name says hdf5" in note for note in found.notes)
    assert found.table.to_pydict() == small.to_pydict()
    assert [len(batch) for batch in found.batches(2)] == [2, 1]


def test_hdf5_vectors_stand_side_by_side(tmp_path: Path, write_xlsx: WriteXlsx) -> None:
    table = pa.table({"flag": [True, False], "n": [1, -2], "name": ["a", "é"], "x": [0.5, float("inf")]})
    write(tmp_path / "t.bin", "hdf5", table, write_xlsx)
    found = load_table(tmp_path / "t.bin")
    assert found.format == "hdf5"
    assert found.table.to_pydict() == table.to_pydict()


def _zip(content: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.csv", content)


@pytest.mark.parametrize("codec", ["gzip", "bz2", "zstd", "zip"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_compressed_files_are_unpacked(
    kind: str, codec: str, tmp_path: Path, small: pa.Table, write_xlsx: WriteXlsx
) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    write(plain, kind, small, write_xlsx)
    content = plain.read_bytes()
    if codec == "zip":
        _zip(content, packed)
    else:
        packers: dict[str, Callable[[bytes], Any]] = {
            "gzip": gzip.compress,
            "bz2": bz2.compress,
            "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
        }
        packed.write_bytes(packers[codec](content))
    found = load_table(packed, isolate=False)
    assert found.format == kind
    assert found.table.to_pydict() == small.to_pydict()
    if codec != "zip":
        packed.write_bytes(packed.read_bytes()[:-5])
        with pytest.raises(DataError, match="damaged or truncated"):
            load_table(packed, isolate=False)


def test_an_archive_of_several_files_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x\n1\n")
        archive.writestr("b.csv", "y\n2\n")
    with pytest.raises(DataError, match=r"holds 2 files \(a.csv, b.csv\)"):
        load_table(path, isolate=False)
    assert load_table(path, member="b.csv", isolate=False).table.to_pydict() == {"y": [2]}


def test_nested_columns_are_flattened_or_kept(tmp_path: Path) -> None:
    table = pa.table({"a": [{"b": {"c": 1}, "l": [1, 2]}, None], "a.l": [3, 4]})
    pq.write_table(table, tmp_path / "t.parquet")
    found = load_table(tmp_path / "t.parquet", isolate=False)
    assert found.table.to_pydict() == {"a.b.c": [1, None], "a.l": [[1, 2], None], "a.l__2": [3, 4]}
    kept = load_table(tmp_path / "t.parquet", flatten=False, isolate=False)
    assert kept.table.to_pydict() == table.to_pydict()


def test_ten_thousand_columns_and_names_that_occur_twice(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(["x"] * 10_000) + "\n" + ",".join(map(str, range(10_000))) + "\n")
    found = load_table(path, isolate=False)
    names = found.table.column_names
    assert len(set(names)) == 10_000
    assert names[:3] == ["x", "x__2", "x__3"]
    assert found.table["x__10000"].to_pylist() == [9999]
    assert any("9999 columns have the name of another" in note for note in found.notes)


def test_excel_formulas_dates_errors_and_rows_that_are_too_long(tmp_path: Path, write_xlsx: WriteXlsx) -> None:
    path = tmp_path / "t.xlsx"
    rows: list[list[object]] = [
        ["n", "when"],
        ["<c><f>1+1</f><v>2</v></c>", '<c s="1"><v>1.5</v></c>'],
        ['<c><f>HYPERLINK("http://x")</f></c>', '<c s="1"><v>61</v></c>'],
        ['<c t="e"><v>#DIV/0!</v></c>', None],
        [1, None, "beyond"],
    ]
    write_xlsx(path, rows)
    found = load_table(path, isolate=False)
    assert found.table["n"].to_pylist() == [2, None]
    # Day 1 is 1900-01-01; after the 29 February 1900 that Excel believes in, day 61 is 1900-03-01.
    assert [str(value) for value in found.table["when"].to_pylist()] == ["1900-01-01 12:00:00", "1900-03-01 00:00:00"]
    assert [(line.line, line.column) for line in found.rejected] == [(5, 3)]
    assert any("2 cells hold formulas" in note for note in found.notes)
    assert any("1 formulas have no stored value" in note for note in found.notes)


def test_json_shapes(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    for text, wanted in [
        ('{"a": [1, 2], "b": ["x", "y"]}', {"a": [1, 2], "b": ["x", "y"]}),
        ("[[1, 2], [3]]", {"column_1": [1, 3], "column_2": [2, None]}),
        ('[1, "x"]', {"value": ["1", "x"]}),
        ('{"rows": [{"a": 1}], "total": 1}', {"a": [1]}),
        ('[{"a": 1e400}, {"a": 18446744073709551616}]', {"a": [float("inf"), 2.0**64]}),
        ('[{"a": 18446744073709551616}]', {"a": ["18446744073709551616"]}),
    ]:
        path.write_text(text)
        assert load_table(path, isolate=False).table.to_pydict() == wanted
