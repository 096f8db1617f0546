"""How much a file may cost: memory, rows, columns, depth; and what the caller wants of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestai.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MIB = 1 << 20
# A batch is never larger than this, however few rows that makes: ten thousand columns of text must stream as well.
BATCH_BYTES = 16 * MIB
NULLS = ("", "NA", "N/A", "#N/A", "NULL", "null")


@dataclass(frozen=True)
class Limits:
    """What reading one file may take at most.

    Args:
        max_bytes: Bytes of memory: of the process that reads, and of `Loaded.table`.
        max_unpacked_bytes: Bytes a compressed file may unpack to, on disk; eight times `max_bytes` by default.
        max_rows: Rows a file may have or declare.
        max_columns: Columns a file may have or declare, nested ones counted.
        max_depth: How deeply values may be nested.
        cpu_seconds: CPU time of a pass over the file; by default 30 s and a second more for each MiB.
        max_rejected: How many rejected lines are listed; all are counted.

    Raises:
        DataError: A limit is not positive, or `max_bytes` is less than 16 MiB.
    """

    max_bytes: int = 2048 * MIB
    max_unpacked_bytes: int | None = None
    max_rows: int = 1_000_000_000
    max_columns: int = 100_000
    max_depth: int = 64
    cpu_seconds: int | None = None
    max_rejected: int = 1000

    def __post_init__(self) -> None:
        if self.max_bytes < BATCH_BYTES:
            raise DataError(
                f"`max_bytes` must be at least {BATCH_BYTES}, got {self.max_bytes}.", remedy="One batch takes that."
            )
        for name in ("max_unpacked_bytes", "max_rows", "max_columns", "max_depth", "cpu_seconds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"`{name}` must be at least 1, got {value}.")

    @property
    def unpacked(self) -> int:
        """Bytes that a compressed file may unpack to."""
        return self.max_unpacked_bytes or 8 * self.max_bytes

    def check_shape(self, rows: int, columns: int, what: str) -> None:
        """Refuse a shape that is too large before anything is allocated for it.

        Raises:
            DataError: More rows or columns than allowed.
        """
        if not 0 <= rows <= self.max_rows:
            raise DataError(
                f"{what} declares {rows:,} rows; the limit is {self.max_rows:,}.",
                remedy="Raise `max_rows` if you trust the file.",
            )
        if not 0 <= columns <= self.max_columns:
            raise DataError(
                f"{what} declares {columns:,} columns; the limit is {self.max_columns:,}.",
                remedy="Raise `max_columns` if you trust the file.",
            )

    def check_bytes(self, size: int, what: str) -> None:
        """Refuse to allocate more than the limit.

        Raises:
            DataError: `size` bytes are more than `max_bytes`.
        """
        if size > self.max_bytes:
            raise too_large(f"{what} takes {size:,} bytes", self)


def too_large(what: str, limits: Limits) -> DataError:
    """Return the error for data that take more memory than allowed."""
    return DataError(
        f"{what}; the limit is {limits.max_bytes:,}.",
        remedy="Raise `max_bytes` if you trust the file, or read it in pieces with `.batches()`.",
    )


@dataclass(frozen=True)
class Options:
    """What the caller wants of one file; see `load_table` for each. `hint` is the format that the name promises."""

    format: str | None = None
    hint: str | None = None
    limits: Limits = field(default_factory=Limits)
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    nulls: tuple[str, ...] = NULLS
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    sheet: str | None = None
    dataset: str | None = None
    flatten: bool = True

    def wanted(self, name: str) -> pa.DataType | None:
        """Return the type that the caller declared for a column."""
        return self.types.get(name)
