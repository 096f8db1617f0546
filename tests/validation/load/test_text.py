"""Text files as people write them: encodings, ragged lines, mixed columns, dates, numbers beyond limits."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pyarrow as pa
import pytest

from orchestai.errors import DataError
from orchestai.validation.load import Loaded, load_table


def load(tmp_path: Path, content: str | bytes, name: str = "t.csv", **options: object) -> Loaded:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_table(path, isolate=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
def test_encodings_are_found(encoding: str, tmp_path: Path) -> None:
    found = load(tmp_path, "name,n\nGröße,1\nçà,2\n".encode(encoding))
    assert found.table.to_pydict() == {"name": ["Größe", "çà"], "n": [1, 2]}
    assert any("encoding" in note for note in found.notes) == (encoding != "utf-8")


def test_mixed_encodings_are_refused_with_the_line(tmp_path: Path) -> None:
    content = "name\nGröße\n".encode() + "Größe\n".encode("latin-1")
    with pytest.raises(DataError, match=r"Byte 15 \(line 3\) is not utf-8"):
        load(tmp_path, content)
    with pytest.raises(DataError, match="no single encoding fits"):
        load(tmp_path, b"a,b\n\x81\x8d,\xff\n")
    with pytest.raises(DataError, match="zero bytes, the first at byte 5"):
        load(tmp_path, b"a,b\n1\x00,2\n3,4\n")
    assert load(tmp_path, content, encoding="latin-1").rows == 2


def test_ragged_lines_are_listed_by_line_and_column_and_the_rest_is_loaded(tmp_path: Path) -> None:
    found = load(tmp_path, 'a,b\n1,"x\ny"\n3\n\n4,5,6\n7,8\n')
    assert found.table.to_pydict() == {"a": [1, 7], "b": ["x\ny", "8"]}
    assert [tuple(line) for line in found.rejected] == [
        (4, 2, "1 fields instead of 2"),
        (6, 3, "3 fields instead of 2"),
    ]
    assert found.rejected_rows == 2


def test_a_quote_that_is_never_closed_swallows_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3 opens a quote that is never closed"):
        load(tmp_path, 'a,b\n1,2\n3,"x\n5,6\n7,8\n')
    assert load(tmp_path, 'a,b\n1,5" pipe\n2,y\n').table["b"].to_pylist() == ['5" pipe', "y"]


def test_broken_json_lines_are_listed(tmp_path: Path) -> None:
    found = load(tmp_path, '{"a": 1}\n{"a": }\n[2]\n\n{"a": 1, "a": 3}\n', "t.jsonl")
    assert found.table.to_pydict() == {"a": [1, 3]}
    assert [(line.line, line.column) for line in found.rejected] == [(2, 7), (3, 1)]
    assert any("a name twice" in note for note in found.notes)


def test_types_are_the_narrowest_that_fit_all_values(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "i,f,b,d,t,z,mixed,id,none\n1,1,true,1969-12-31,1905-01-01 01:02:03,2020-01-01T00:00:00Z,1,007,\n"
        "-5,inf,FALSE,0001-01-01,2020-01-01,1960-01-01T00:00:00+01:00,x,010,NA\n9,1e400,,,,,,,\n",
    )
    utc = dt.UTC
    assert found.table.to_pydict() == {
        "i": [1, -5, 9],
        "f": [1.0, math.inf, math.inf],
        "b": [True, False, None],
        "d": [dt.date(1969, 12, 31), dt.date(1, 1, 1), None],
        "t": [dt.datetime(1905, 1, 1, 1, 2, 3), dt.datetime(2020, 1, 1), None],  # noqa: DTZ001
        "z": [dt.datetime(2020, 1, 1, tzinfo=utc), dt.datetime(1959, 12, 31, 23, tzinfo=utc), None],
        "mixed": ["1", "x", None],
        "id": ["007", "010", None],
        "none": [None, None, None],
    }
    text = " ".join(found.notes)
    assert "column 'f': numbers beyond 1.8e308 became infinite, e.g. '1e400'" in text
    assert "column 'mixed' mixes numbers with text, e.g. 'x'" in text
    assert "column 'id': numbers with leading zeros are kept as text" in text


def test_declared_types_and_what_does_not_fit_them(tmp_path: Path) -> None:
    text = "a,b\n1,2\n3,x\n"
    assert load(tmp_path, text, types={"a": pa.string()}).table["a"].to_pylist() == ["1", "3"]
    with pytest.raises(DataError, match="'b' does not fit the declared type int64"):
        load(tmp_path, text, types={"b": pa.int64()}).table  # noqa: B018
    with pytest.raises(DataError, match="names columns that the file does not have: c"):
        load(tmp_path, text, types={"c": pa.int64()})


def test_small_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is empty \(0 bytes\)"):
        load(tmp_path, "")
    with pytest.raises(DataError, match="nothing but white space"):
        load(tmp_path, " \n\n")
    header = load(tmp_path, "a,b")
    assert (header.rows, header.table.column_names) == (0, ["a", "b"])
    assert "there is no row" in header.notes
    assert load(tmp_path, "a,b\n1,2").table.to_pydict() == {"a": [1], "b": [2]}
    assert load(tmp_path, "\n\na\n1\n\n3\n").table.to_pydict() == {"a": [1, None, 3]}
    assert load(tmp_path, "1,2\n3,4\n", header=False).table.to_pydict() == {"column_1": [1, 3], "column_2": [2, 4]}


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_delimiters_are_found(mark: str, tmp_path: Path) -> None:
    found = load(tmp_path, f"a{mark}b\n1{mark}x,y\n2{mark}z\n")
    assert found.table.to_pydict() == {"a": [1, 2], "b": ["x,y", "z"]}


def test_paths_of_images_stay_text_and_are_not_opened(tmp_path: Path) -> None:
    found = load(tmp_path, "image,label\n/dev/zero.png,a\nx.JPG,b\n")
    assert "column 'image' holds paths of images: they are kept as text, and not opened" in found.notes
    assert found.table["image"].to_pylist() == ["/dev/zero.png", "x.JPG"]


@pytest.mark.parametrize("start", ["PAR1", "ARROW1", "ORC", "PARENT", "BZh", "FEA1", "city\nParis", "c\nPATH"])
def test_headers_that_begin_like_another_format_are_text(start: str, tmp_path: Path) -> None:
    found = load(tmp_path, f"{start}\nRome\n(Lyon)\n")
    assert found.format == "csv"
    assert found.table.column(0).to_pylist()[-2:] == ["Rome", "(Lyon)"]


def test_one_line_of_json_is_what_its_name_says(tmp_path: Path) -> None:
    text = '{"rows": [{"a": 1}]}\n'
    assert load(tmp_path, text, "t.json").table.to_pydict() == {"a": [1]}
    assert load(tmp_path, text, "t.jsonl").table.to_pydict() == {"rows": [[{"a": 1}]]}
