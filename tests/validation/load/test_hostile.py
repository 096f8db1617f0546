"""A corpus of files made to hurt: none runs code, reads another file, hangs, or takes more memory than allowed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import stat
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.errors import DataError
from orchestai.validation.load import Limits, load_table

MIB = 1 << 20
SECRET = "the content of another file"


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def refuse(path: Path, match: str, *, isolate: bool = False, limits: Limits | None = None, **options: Any) -> None:
    with pytest.raises(DataError, match=match):
        load_table(path, isolate=isolate, limits=limits, **options).table  # noqa: B018


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["t.pkl", "t.csv", "t.parquet"])
def test_pickles_are_refused(protocol: int, name: str, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(target), protocol))
    if protocol == 1:
        # Protocol 1 opens with the same text as protocol 0, but binary arguments.
        refuse(tmp_path / name, "pickle|zero bytes")
    else:
        refuse(tmp_path / name, "a pickle, which runs code")
    assert not target.exists()


def test_numpy_and_archives_of_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([Bomb(tmp_path / "owned")], dtype=object), allow_pickle=True)
    refuse(tmp_path / "t.npy", "a NumPy array, which may hold pickles")
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(tmp_path / "owned")))
    refuse(tmp_path / "model.pt", "holds a pickle")
    assert not (tmp_path / "owned").exists()


def test_links_pipes_devices_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text(f"a\n{SECRET}\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "secret.csv")
    refuse(tmp_path / "link.csv", "symbolic link")
    os.mkfifo(tmp_path / "pipe.csv")
    refuse(tmp_path / "pipe.csv", "a pipe, not a regular file")
    refuse(Path("/dev/zero"), "a device, not a regular file")
    refuse(tmp_path, "a folder, not a regular file")
    refuse(tmp_path / "missing.csv", "There is no file")


def test_archives_that_lead_out_or_unpack_too_far_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    limits = Limits(max_bytes=16 * MIB, max_unpacked_bytes=32 * MIB)
    for name in ("../../etc/cron.d/x.csv", "/etc/passwd.csv", "..\\x.csv"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "a\n1\n")
        refuse(path, "leads out of it")
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("t.csv")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    refuse(path, "is a symbolic link")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", b"0\n" * (40 * MIB))
    assert path.stat().st_size < MIB
    refuse(path, "declares 83,886,080 bytes unpacked; the limit is 33,554,432", limits=limits)
    # The same with a size that lies: what is read counts, not what is said.
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 100)
    path.write_bytes(content)
    refuse(path, "damaged or truncated", limits=limits)
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(b"0\n" * (40 * MIB)))
    refuse(packed, "unpacks to more than 33,554,432 bytes", limits=limits)
    packed.write_bytes(gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"a\n1\n"))))))
    refuse(packed, "compressed more than 3 times over")


def test_xml_bombs_and_entities_in_a_workbook_are_refused(tmp_path: Path, write_xlsx: Callable[..., None]) -> None:
    path = tmp_path / "t.xlsx"
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    write_xlsx(path, [["a"], ["<c><v>&e9;</v></c>"]], f'<!DOCTYPE w [<!ENTITY e0 "lol">{levels}]>')
    refuse(path, "declares a document type")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    prologue = f'<!DOCTYPE w [<!ENTITY x SYSTEM "file://{secret}">]>'
    write_xlsx(path, [["a"], ["<c><v>&x;</v></c>"]], prologue)
    refuse(path, "declares a document type")
    styles = '<!DOCTYPE s [<!ENTITY x "y">]><styleSheet/>'
    write_xlsx(path, [["a"], [1]], parts={"xl/styles.xml": styles})
    refuse(path, "declares a document type")


def test_crafted_references_in_a_workbook_are_refused(tmp_path: Path, write_xlsx: Callable[..., None]) -> None:
    path = tmp_path / "t.xlsx"
    write_xlsx(path, [["a"], ['<c r="ZZZZ1"><v>1</v></c>']])
    refuse(path, "names column 475,254; Excel has 16,384")
    write_xlsx(path, [["a"], ['<c t="s"><v>5</v></c>']])
    refuse(path, "the shared text 5, which does not exist")
    write_xlsx(path, [["a"], ["<c><v>" + "9" * (2 * MIB) + "</v></c>"]])
    refuse(path, "holds more than 1,048,576 characters")
    relations = '<Relationships><Relationship Id="r1" Target="../../../etc/passwd"/></Relationships>'
    parts = {"xl/_rels/workbook.xml.rels": relations}
    write_xlsx(path, [["a"]], parts=parts)
    refuse(path, "has no sheet")


def test_deep_json_and_huge_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    for text in ("[" * 100_000 + "]" * 100_000, '{"a":' * 500 + "1" + "}" * 500):
        path.write_text(text)
        refuse(path, "nested")
    path.write_text('[{"a": ' + "9" * 1_000_000 + "}]")
    assert load_table(path, isolate=False).table.to_pydict() == {"a": [float("inf")]}
    path.write_text('[{"a": 1}' + ', {"a": 1}' * 2_000_000 + "]")
    refuse(path, "is read whole", limits=Limits(max_bytes=16 * MIB))
    lines = tmp_path / "t.jsonl"
    lines.write_text("".join(json.dumps({f"k{n}": 1}) + "\n" for n in range(2000)))
    refuse(lines, "columns; the limit is 1,000", limits=Limits(max_columns=1000))


def test_arrow_that_declares_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    rows = 2_000_000_000
    batch = pa.RecordBatch.from_arrays([pa.Array.from_buffers(pa.null(), rows, [None])], names=["a"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert path.stat().st_size < 1000
    refuse(path, "declares 2,000,000,000 rows")
    # A type that older Arrow versions unpickled from the schema's metadata.
    target = tmp_path / "owned"
    field = pa.field("a", pa.int64(), metadata={
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Bomb(target)),
    })  # fmt: skip
    table = pa.table([pa.array([1])], schema=pa.schema([field]))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    found = load_table(path).table
    assert found.to_pydict() == {"a": [1]}
    assert found.schema.field("a").metadata is None
    assert not target.exists()


def test_a_parquet_bomb_stops_at_the_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    # One text of 1 MiB, referred to 20,000 times: 20 GiB in one batch.
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, dtype=np.int32)), pa.array(["x" * MIB]))
    pq.write_table(pa.table({"a": text}), path, store_schema=False, compression="zstd")
    assert path.stat().st_size < MIB
    before = _available()
    refuse(path, "more memory than allowed|makes its reader crash", isolate=True, max_bytes=128 * MIB)
    assert before - _available() < 2048 * MIB


def _available() -> int:
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def test_parquet_that_is_cut_off_or_encrypted(tmp_path: Path, small: pa.Table) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(small, path)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    refuse(path, "has no end: it is cut off")
    path.write_bytes(content[:100] + content[-100:])
    refuse(path, "damaged or truncated|declares", isolate=True)
    path.write_bytes(b"PARE" + content[4:])
    refuse(path, "an encrypted Parquet file")


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual", "object", "huge", "chunk", "sparse"])
def test_hdf5_that_leads_out_or_declares_too_much(kind: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    secret, path = tmp_path / "secret.bin", tmp_path / "t.h5"
    secret.write_text(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(3)
    with h5py.File(path, "w") as root:
        root["good"] = np.arange(3)
        if kind == "external link":
            root.create_group("g")["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        elif kind == "external storage":
            root.create_dataset("x", shape=(3,), dtype="i1", external=[(str(secret), 0, 3)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=(3,), dtype="i8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(3,))
            root.create_virtual_dataset("x", layout)
        elif kind == "object":
            root["x"] = np.frombuffer(pickle.dumps(Bomb(tmp_path / "owned")), dtype=np.uint8)
            root["x"].attrs["PSEUDOATOM"] = "object"
        elif kind == "huge":
            root.create_dataset("x", shape=(2**50,), dtype="f8", chunks=(1024,))
        elif kind == "chunk":
            root.create_dataset("x", shape=(2**29,), maxshape=(None,), dtype="f4", chunks=(2**29,))
        else:
            root.create_dataset("x", shape=(900_000_000,), dtype="f8", chunks=(1024,))
    reasons = {
        "external link": "is a link to another file",
        "external storage": "stored in another file",
        "virtual": "is a virtual dataset",
        "object": "holds pickled Python objects",
        "huge": "declares 1,125,899,906,842,624 rows",
        "chunk": "A chunk of /x takes 2,147,483,648 bytes|declares 2,147,483,648 bytes and stores 0",
        "sparse": "declares 7,200,000,000 bytes and stores 0",
    }
    refuse(path, reasons[kind], isolate=kind in ("external link", "virtual"), max_bytes=1024 * MIB)
    assert not (tmp_path / "owned").exists()


def test_other_kinds_of_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content, what in [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "an image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xd0\xcf\x11\xe0" + bytes(20), r"an old Office document \(.xls\)"),
        (b"<!DOCTYPE html><html></html>", "an XML or web page"),
        (b"\x7fELF" + bytes(20), "a program"),
        (bytes(range(256)) * 4, "zero bytes"),
    ]:
        path.write_bytes(content)
        refuse(path, what)
    path.write_text("a,b\n1,2\n")
    refuse(path, "was said to be parquet, but its content is csv", format="parquet")
    refuse(path, "There is no format 'pickle'", format="pickle")


def test_the_reading_process_can_open_nothing_else(tmp_path: Path) -> None:
    # What a crafted file would do with a reader that it has taken over.
    script = tmp_path / "script.py"
    script.write_text(
        "import os, socket\nfrom orchestai.validation.load import Limits, confined\n"
        "confined._load_libraries()\nconfined._confine(Limits(max_bytes=64 << 20), 20)\nfailed = 0\n"
        "for attempt in (lambda: open('/etc/passwd'), lambda: os.popen('id'), lambda: socket.socket(),\n"
        "                lambda: open('new', 'w'), lambda: bytearray(1 << 30)):\n"
        "    try:\n        attempt()\n    except (OSError, MemoryError):\n        failed += 1\n"
        "os.write(1, str(failed).encode())\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, str(script)], capture_output=True, cwd=tmp_path, check=True, env=_env())
    assert done.stdout == b"5"


def _env() -> dict[str, str]:
    import orchestai

    return {**os.environ, "PYTHONPATH": str(Path(orchestai.__file__).parent.parent), "MALLOC_ARENA_MAX": "1"}


def test_a_module_beside_the_data_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyarrow.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    (tmp_path / "t.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    assert load_table("t.csv").table.to_pydict() == {"a": [1]}
    assert not (tmp_path / "owned").exists()


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "1\n" * 100)
    found = load_table(path, isolate=False)
    with path.open("a") as more:
        more.write("2\n")
    with pytest.raises(DataError, match=r"t.csv was changed while it was read \(202 bytes, now 204\)"):
        next(found.batches())
    found = load_table(path, isolate=False)
    stream = found.batches(10)
    next(stream)
    path.write_text("b\n")
    with pytest.raises(DataError, match="was changed while it was read"):
        list(stream)
    # Renamed over, the old file stays whole: what was opened is a snapshot.
    path.write_text("a\n1\n")
    found = load_table(path, isolate=False)
    (tmp_path / "new").write_text("b\n9\n")
    (tmp_path / "new").replace(path)
    assert found.table.to_pydict() == {"a": [1]}


def test_a_table_beyond_the_memory_limit_is_streamed_instead(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    values = np.arange(4_000_000, dtype=np.int64)
    pq.write_table(pa.table({"a": values}), path, row_group_size=100_000)
    found = load_table(path, max_bytes=16 * MIB, isolate=False)
    with pytest.raises(DataError, match="the limit is 16,777,216"):
        found.table  # noqa: B018
    total = sum(int(np.sum(batch.column(0).to_numpy())) for batch in found.batches())
    assert total == int(values.sum())


def test_limits_say_what_they_want() -> None:
    with pytest.raises(DataError, match="`max_bytes` must be at least 16777216, got 5"):
        Limits(max_bytes=5)
    with pytest.raises(DataError, match="`max_depth` must be at least 1"):
        Limits(max_depth=0)


def test_bytes_of_a_stream_are_not_believed(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("a", pa.int64())])) as writer:
        writer.write_batch(pa.record_batch({"a": [1, 2]}))
    content = bytearray(sink.getvalue())
    content[4:8] = struct.pack("<i", 2**31 - 1)
    (tmp_path / "t").write_bytes(content)
    refuse(tmp_path / "t", "damaged or truncated|more memory")
