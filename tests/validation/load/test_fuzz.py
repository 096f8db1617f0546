"""Round trips of any table, and damaged files of every format: either a table or our error, soon and small."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestai.errors import DataError
from orchestai.validation.load import Limits, load_table

WriteXlsx = Callable[..., None]
MIB = 1 << 20

# No zero characters, which text files cannot have, and no lone surrogates, which UTF-8 cannot.
_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_columns: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): _text,
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
}


@st.composite
def tables(draw: st.DrawFn, kinds: tuple[pa.DataType, ...] = tuple(_columns)) -> pa.Table:
    rows = draw(st.integers(1, 6))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=2, max_size=5))
    columns = []
    for kind in chosen:
        values = st.one_of(st.none(), _columns[kind])
        columns.append(pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), type=kind))
    return pa.table(columns, names=[f"c{place}" for place in range(len(columns))])


anything = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _back(path: Path, **options: Any) -> pa.Table:
    return load_table(path, isolate=False, **options).table


@anything
@given(table=tables())
def test_any_table_comes_back_from_parquet_and_arrow(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "t")
    assert _back(tmp_path / "t").equals(table)
    for new in (pa.ipc.new_file, pa.ipc.new_stream):
        with pa.OSFile(str(tmp_path / "t"), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table)
        assert _back(tmp_path / "t").equals(table)


@anything
@given(table=tables())
def test_any_table_comes_back_from_csv_with_its_types(tmp_path: Path, table: pa.Table) -> None:
    pc.write_csv(table, tmp_path / "t")
    types = {field.name: field.type for field in table.schema}
    assert _back(tmp_path / "t", types=types, delimiter=",", format="csv").equals(table)


@anything
@given(table=tables((pa.int64(), pa.float64(), pa.bool_(), pa.string())))
def test_any_table_comes_back_from_json(tmp_path: Path, table: pa.Table) -> None:
    rows = table.to_pylist()
    (tmp_path / "t.json").write_text(json.dumps(rows))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("t.json", "t.jsonl"):
        assert _back(tmp_path / name, format=name[2:]).to_pylist() == rows


# What XML 1.0 can hold, carriage returns aside: XML reads them as line feeds.
_cells = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"], exclude_characters="<\ufffe\uffff"))


@anything
@given(
    rows=st.lists(st.tuples(st.integers(-(2**52), 2**52), st.booleans(), _cells.filter(bool)), min_size=1, max_size=5)
)
def test_any_cells_come_back_from_excel(tmp_path: Path, write_xlsx: WriteXlsx, rows: list[tuple[Any, ...]]) -> None:
    write_xlsx(tmp_path / "t", [["n", "b", "s"], *map(list, rows)])
    assert [tuple(row.values()) for row in _back(tmp_path / "t").to_pylist()] == rows


def _samples(folder: Path, write_xlsx: WriteXlsx) -> dict[str, bytes]:
    """Return a small valid file of every format."""
    table = pa.table(
        {
            "n": pa.array(range(50)),
            "x": pa.array([n / 7 if n % 5 else None for n in range(50)]),
            "s": pa.array([f"text {n % 6} é" for n in range(50)]),
            "d": pa.array([dt.date(1960, 1, 1)] * 50),
            "l": pa.array([[n, None] for n in range(50)]),
        }
    )
    flat = table.drop_columns(["l"])
    path, samples = folder / "sample", {}

    def keep(name: str) -> None:
        samples[name] = path.read_bytes()

    pc.write_csv(flat, path)
    keep("csv")
    samples["csv.gz"] = gzip.compress(samples["csv"])
    samples["csv.zst"] = pa.compress(samples["csv"], codec="zstd", asbytes=True)
    rows = [{**row, "d": str(row["d"])} for row in table.to_pylist()]
    samples["json"] = json.dumps(rows).encode()
    samples["jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    write_xlsx(path, [["n", "x", "s"], *([row["n"], row["x"], row["s"]] for row in rows)])
    keep("xlsx")
    pq.write_table(table, path, compression="zstd")
    keep("parquet")
    for name, new in (("arrow", pa.ipc.new_file), ("arrows", pa.ipc.new_stream)):
        with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table)
        keep(name)
    return samples


def _damage(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    if rng.random() < 0.25:
        return bytes(damaged[: rng.randrange(len(damaged))])
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _survive(path: Path, content: bytes, *, isolate: bool, limits: Limits) -> bool:
    """Load a damaged file; return whether it was refused. Anything but a table or `DataError` fails the test."""
    path.write_bytes(content)
    started = time.process_time()
    try:
        found = load_table(path, isolate=isolate, limits=limits)
        assert found.table.num_rows == found.rows
        refused = False
    except DataError:
        refused = True
    assert time.process_time() - started < 20
    return refused


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.zst", "json", "jsonl", "xlsx", "arrow", "arrows"])
def test_damaged_files_make_a_table_or_our_error(kind: str, tmp_path: Path, write_xlsx: WriteXlsx) -> None:
    content = _samples(tmp_path, write_xlsx)[kind]
    rng = random.Random(f"{kind} 1")
    limits = Limits(max_bytes=64 * MIB)
    refused = sum(_survive(tmp_path / "t", _damage(content, rng), isolate=False, limits=limits) for _ in range(150))
    assert refused > 5


@pytest.mark.parametrize("cases", [6, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
def test_files_that_crash_or_hang_their_library_are_survived(
    kind: str, cases: int, tmp_path: Path, write_xlsx: WriteXlsx
) -> None:
    # Flipped bits abort Parquet's reader (std::terminate) and send HDF5's into endless loops, hence the process.
    if kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "f", "w") as root:
            root["x"] = list(range(50))
            root.create_dataset("s", data=["é"] * 50, dtype=h5py.string_dtype())
        content = (tmp_path / "f").read_bytes()
    else:
        content = _samples(tmp_path, write_xlsx)[kind]
    rng = random.Random(f"{kind} 1")
    limits = Limits(max_bytes=64 * MIB, cpu_seconds=4)
    refused = sum(_survive(tmp_path / "t", _damage(content, rng), isolate=True, limits=limits) for _ in range(cases))
    assert refused > 0


@pytest.mark.slow
def test_a_reader_that_aborts_is_an_error_here(tmp_path: Path) -> None:
    # In this footer the flip makes pyarrow 25 throw across a boundary that lets nothing through, and abort.
    pq.write_table(pa.table({"a": [1, 2, 3], "st": [{"p": 1}, None, {"p": 3}]}), tmp_path / "t")
    content = (tmp_path / "t").read_bytes()
    limits = Limits(max_bytes=64 * MIB, cpu_seconds=10)
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for place in range(len(content) - footer, len(content), max(1, footer // 12)):
        flipped = bytearray(content)
        flipped[place] ^= 2
        _survive(tmp_path / "t", bytes(flipped), isolate=True, limits=limits)
