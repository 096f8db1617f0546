"""A loaded file: what is known of it, and its rows as a table or, in bounded memory, as batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from orchestai.errors import DataError
from orchestai.validation.load.columns import final_schema
from orchestai.validation.load.isolate import stream_confined
from orchestai.validation.load.limits import Options, too_large
from orchestai.validation.load.reader import stream_file
from orchestai.validation.load.scan import Rejected, Scan
from orchestai.validation.load.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa


class Loaded:
    """A file that was opened, checked and scanned; its values are read when they are asked for.

    Attributes:
        name: The file's name.
        format: What it is by its content.
        notes: What a reader of the data should know.
        rejected: The first lines that were left out (line, column, reason).
        rejected_rows: How many were left out.
        rows: How many rows there are.
        bytes: Size of the file as it lies on disk.
        content_hash: sha256 of the file as it lies on disk, in hex.
    """

    def __init__(self, source: Snapshot, unpacked: Snapshot, scan: Scan, options: Options, isolate: bool) -> None:
        self._source = source
        self._unpacked = unpacked
        self._scan = scan
        self._options = options
        self._isolate = isolate
        assert scan.schema is not None
        self.schema: pa.Schema = final_schema(scan.schema, options.flatten, options.limits, [])
        self.name = source.name
        self.format = str(scan.detail["format"])
        self.notes: tuple[str, ...] = tuple(scan.notes)
        self.rejected: tuple[Rejected, ...] = tuple(scan.rejected)
        self.rejected_rows = scan.rejected_rows
        self.rows = scan.rows
        self.bytes = source.size
        self.content_hash = source.content_hash

    def __repr__(self) -> str:
        columns = len(self.schema)
        return f"Loaded({self.name!r}, {self.format}, {self.rows:,} x {columns:,}, {len(self.notes)} notes)"

    def batches(self, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Read the rows from disk, a batch at a time; memory stays that of a few batches.

        Args:
            rows: Rows of a batch at most; wide rows make smaller batches.

        Raises:
            DataError: The file was changed since it was opened, is damaged further on, or takes too much memory.
        """
        if rows < 1:
            raise DataError(f"`rows` must be at least 1, got {rows}.")
        self._source.check_unchanged()
        stream = stream_confined if self._isolate else _stream_here
        # Only when the last batch is handed out it is known that none was changed under way.
        waiting: pa.RecordBatch | None = None
        try:
            for batch in stream(self._unpacked, self._options, self._scan, rows):
                if waiting is not None:
                    yield waiting
                waiting = batch
        except DataError:
            self._source.check_unchanged()
            raise
        self._source.check_unchanged()
        if waiting is not None:
            yield waiting

    @cached_property
    def table(self) -> pa.Table:
        """All rows in memory.

        Raises:
            DataError: They take more than `max_bytes`; or as `batches`.
        """
        import pyarrow as pa

        limits = self._options.limits
        found, size = [], 0
        for batch in self.batches():
            size += batch.nbytes
            if size > limits.max_bytes:
                raise too_large(f"The table of {self.name} takes more than {size:,} bytes", limits)
            found.append(batch)
        return pa.Table.from_batches(found, schema=self.schema)

    def close(self) -> None:
        """Let go of the file; also done when this object goes."""
        self._unpacked.close()
        self._source.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _stream_here(found: Snapshot, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    yield from stream_file(found.file(), options, scan, rows)
