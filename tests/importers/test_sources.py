from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai.errors import DataError
from orchestai.importers import sources


def write_zst(path: Path, body: bytes) -> None:
    with pa.OSFile(str(path), "wb") as raw, pa.CompressedOutputStream(raw, "zstd") as stream:
        stream.write(body)


def test_the_plain_file_is_preferred_and_the_compressed_one_found(tmp_path: Path) -> None:
    write_zst(tmp_path / "a.json", b"")
    write_zst(tmp_path / "b.json.zst", b"")
    write_zst(tmp_path / "a.json.zst", b"")
    assert sources.locate(tmp_path, "a.json", holds="x").name == "a.json"
    assert sources.locate(tmp_path, "b.json", holds="x").name == "b.json.zst"


def test_a_missing_file_is_named_with_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither c\.json nor c\.json\.zst.*three files of mine"):
        sources.locate(tmp_path, "c.json", holds="three files of mine")
    with pytest.raises(DataError, match="not a folder"):
        sources.locate(tmp_path / "nowhere", "c.json", holds="x")


def test_lines_split_at_newlines_only(tmp_path: Path) -> None:
    text = '{"a": "one\u2028line\x85still"}\n\n{"b": 1}'
    write_zst(tmp_path / "l.jsonl.zst", text.encode())
    lines = list(sources.iter_lines(tmp_path / "l.jsonl.zst"))
    assert [line.number for line in lines] == [1, 3]
    assert json.loads(lines[0].body) == {"a": "one\u2028line\x85still"}


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"not zstd at all" * 9])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "d.jsonl.zst"
    rng = "".join(chr(33 + (i * i * 7919) % 90) for i in range(200_000))
    write_zst(path, json.dumps(rng).encode())
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=r"d\.jsonl\.zst"):
        sources.read_json(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(values=st.lists(JSON, max_size=6), chunk=st.integers(1, 9), ascii_only=st.booleans(), indent=st.booleans())
def test_an_array_is_read_element_by_element_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], chunk: int, ascii_only: bool, indent: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "array.json"
    path.write_text(json.dumps(values, ensure_ascii=ascii_only, indent=1 if indent else None), encoding="utf-8")
    whole = sources._CHUNK
    sources._CHUNK = chunk
    try:
        assert list(sources.iter_json_array(path)) == values
    finally:
        sources._CHUNK = whole


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2", "[1 2]", "", "[1,, 2]", "[1, x]"])
def test_what_is_no_array_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.json"):
        list(sources.iter_json_array(path))
