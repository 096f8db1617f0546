"""Reading a table that may be replaced at the same moment: the old one or the new one, never some of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file whole, its checksums verified.

    `pyarrow.parquet.read_table` opens a file twice, for its footer and for its pages: where ingestion replaces it in
    between, a table that is in order looks damaged. Here it is opened once.

    Args:
        path: The file.
        columns: Top-level columns to read, in the order wanted; all of them by default.

    Returns:
        The table (rows, columns), with the metadata of its schema.

    Raises:
        OSError: The file is missing or damaged.
        pyarrow.ArrowException: It is no Parquet, damaged, or without one of the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if columns is None:
            return file.read()
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise pa.ArrowInvalid(f"{path} has no column {', '.join(missing)}")
        return file.read(columns=list(columns)).select(list(columns))


__all__ = ["read_parquet"]
