"""Tables are read whole, also while they are replaced."""

import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.logs.files import replacing
from orchestai.logs.parquet import read_parquet


def write(path: Path, rows: int) -> None:
    with replacing(path) as temporary:
        table = pa.table({"place": list(range(rows)), "text": [str(place) * 5 for place in range(rows)]})
        pq.write_table(table, temporary, write_page_checksum=True)


def test_a_table_that_is_replaced_meanwhile_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    sizes = (500, 1200)
    write(path, sizes[0])
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            for rows in sizes:
                write(path, rows)

    replacer = threading.Thread(target=replace)
    replacer.start()
    seen = set()
    try:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            table = read_parquet(path)
            assert table["place"].to_pylist() == list(range(table.num_rows))
            seen.add(table.num_rows)
    finally:
        ended.set()
        replacer.join()
    assert seen == set(sizes)


def test_columns_come_in_the_order_wanted_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    write(path, 3)

    assert read_parquet(path, ["text", "place"]).column_names == ["text", "place"]
    with pytest.raises(pa.ArrowInvalid, match="no column other"):
        read_parquet(path, ["place", "other"])


def test_a_damaged_page_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    write(path, 500)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises((OSError, pa.ArrowException)):
        read_parquet(path)
