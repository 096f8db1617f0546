"""Tables of any origin as record batches with their place in the table.

Reading of the many file formats is done elsewhere: a source is a `pyarrow.Table`, a frame of pandas or polars,
a file, or any object with `.batches()`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

TableLike = Any
"""A path, a `pyarrow.Table`, a pandas or polars frame, or an object with `.batches()`."""


KEPT_BYTES = 512 << 20
"""Decoded files of up to this size stay in memory from the first pass to the last: none is decoded twice."""


class Source:
    """A table that can be read again and again in batches.

    Args:
        data: What to read.
        chunk_rows: Most rows in a batch.
        format: Format of a file, where its content does not tell.

    Raises:
        DataError: It is no table, has no column or no row, or cannot be read.
    """

    def __init__(self, data: TableLike, *, chunk_rows: int = 65_536, format: str | None = None) -> None:
        self._chunk_rows = chunk_rows
        self._path = Path(data) if isinstance(data, str | Path) else None
        self._data = _open(data, format)
        self.rejected_lines = len(getattr(self._data, "rejected", ()) or ())
        self.renamed: tuple[str, ...] = ()
        self._kept: list[pa.RecordBatch] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the columns, made distinct; no row is read where the data declare them."""
        schema = getattr(self._data, "schema", None)
        if schema is None:
            first = next(self._raw(), None)
            schema = first.schema if first is not None else None
        return [] if schema is None else self._distinct([str(name) for name in schema.names])

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield batches with the number of the row that each begins at; columns have distinct names."""
        offset = 0
        for batch in self._batches():
            for start in range(0, batch.num_rows, self._chunk_rows):
                piece = _without_views(batch.slice(start, self._chunk_rows))
                yield offset, self._with_distinct_names(piece)
                offset += piece.num_rows

    def content_hash(self) -> str:
        """Return the SHA-256 of the file, or of all values of a table in memory."""
        digest = hashlib.sha256()
        if self._path is not None and self._path.is_file():
            with self._path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        import pyarrow as pa

        for _, batch in self.batches():
            digest.update(str(batch.schema).encode())
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(pa.RecordBatch.from_arrays([_compact(c) for c in batch.columns], batch.schema.names))
            digest.update(sink.getvalue())
        return digest.hexdigest()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Yield batches; those of a file that is small once it is decoded are kept, and no process reads it again."""
        if self._kept is not None or self._path is None:
            yield from self._kept if self._kept is not None else self._raw()
            return
        kept: list[pa.RecordBatch] | None = []
        size = 0
        for batch in self._raw():
            size += batch.nbytes
            if kept is not None:
                kept = [*kept, batch] if size <= KEPT_BYTES else None
            yield batch
        self._kept = kept

    def _raw(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        source = self._data
        if isinstance(source, pa.Table):
            yield from source.to_batches(max_chunksize=self._chunk_rows)
        elif isinstance(source, Path):
            import pyarrow.parquet as pq

            try:
                with pq.ParquetFile(source, page_checksum_verification=True) as file:
                    yield from file.iter_batches(batch_size=self._chunk_rows)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"The table {source} cannot be read: {error}", remedy="Make it again.") from error
        else:
            yield from source.batches()

    def _with_distinct_names(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = [str(name) for name in batch.schema.names]
        if len(set(names)) == len(names) and all(names):
            return batch
        import pyarrow as pa

        return pa.RecordBatch.from_arrays(batch.columns, names=self._distinct(names))

    def _distinct(self, names: list[str]) -> list[str]:
        """Return the names with numbers behind those that occur again, and note them."""
        taken: set[str] = set(names)
        fresh: list[str] = []
        for place, name in enumerate(names):
            candidate, count = name or f"column_{place}", 2
            while candidate in fresh or (candidate != name and candidate in taken):
                candidate, count = f"{name}__{count}", count + 1
            fresh.append(candidate)
        self.renamed = tuple(new for old, new in zip(names, fresh, strict=True) if old != new)
        return fresh


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return texts and bytes in the older layout: Arrow cannot take rows of views."""
    import pyarrow as pa
    import pyarrow.types as kinds

    views = [place for place, kind in enumerate(batch.schema.types) if kinds.is_string_view(kind)]
    binary = [place for place, kind in enumerate(batch.schema.types) if kinds.is_binary_view(kind)]
    if not views and not binary:
        return batch
    columns = list(batch.columns)
    for place in (*views, *binary):
        columns[place] = columns[place].cast(pa.large_string() if place in views else pa.large_binary())
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _compact(column: pa.Array) -> pa.Array:
    """Copy a slice, so that what is hashed does not depend on what it was cut from."""
    import pyarrow as pa

    return pa.concat_arrays([column]) if column.offset == 0 else column.take(pa.array(range(len(column))))


def _open(data: TableLike, format: str | None) -> Any:
    """Return a `pyarrow.Table`, a path of a Parquet file, or an object with `.batches()`."""
    import pyarrow as pa

    if isinstance(data, Source):
        return data._data
    if isinstance(data, str | Path):
        return _open_file(Path(data), format)
    if isinstance(data, pa.Table) or callable(getattr(data, "batches", None)):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if callable(getattr(data, "to_arrow", None)):
        return data.to_arrow()
    if type(data).__module__.startswith("pandas"):
        return _from_pandas(data)
    raise DataError(
        f"{type(data).__name__} is no table.",
        remedy="Give a path, a pyarrow Table, or a pandas or polars frame.",
    )


def _open_file(path: Path, format: str | None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise DataError(f"There is no table at {path}.", remedy="Check the path.")
    if importlib.util.find_spec("orchestai.validation.load") is not None:
        return importlib.import_module("orchestai.validation.load").load_table(path, format=format)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"The file {path} is empty.", remedy="Write it again.")
    if (format or path.suffix.lstrip(".")).lower() in ("parquet", "pq"):
        try:
            pq.ParquetFile(path).close()
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"The table {path} cannot be read: {error}", remedy="Make it again.") from error
        return path
    import pyarrow.csv as arrow_csv

    try:
        return arrow_csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The table {path} cannot be read: {error}", remedy="Check the file.") from error


def _from_pandas(frame: Any) -> pa.Table:
    """Convert column by column: one whose values are of several types becomes text."""
    import pyarrow as pa

    arrays, names = [], []
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        try:
            arrays.append(pa.Array.from_pandas(column))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            arrays.append(pa.array([None if value is None or value != value else str(value) for value in column]))
        names.append(str(name))
    return pa.Table.from_arrays(arrays, names=names)
