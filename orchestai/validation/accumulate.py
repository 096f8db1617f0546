"""One pass over a table: states of chunks, merged as a binary counter adds, so that nothing is merged often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from orchestai.errors import DataError
from orchestai.validation.encode import Encoder
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source
from orchestai.validation.states.sample import RowSample
from orchestai.validation.states.table import TableState

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RawRows:
    """Rows as they were read."""

    table: pa.Table

    def take(self, places: NDArray[np.int64]) -> Self:
        """Return these rows."""
        import pyarrow as pa

        return type(self)(self.table.take(pa.array(places)))

    def concat(self, others: Sequence[Self]) -> Self:
        """Return these rows and then the others'."""
        import pyarrow as pa

        tables = [self.table, *(other.table for other in others)]
        return type(self)(pa.concat_tables(tables, promote_options="permissive").combine_chunks())


def sample_raw(source: Source, size: int, seed: int, *, rows: range | None = None) -> tuple[pa.Table, int]:
    """Return a uniform sample of rows in order of their number, and the number of all rows.

    Raises:
        DataError: The table has no rows or no columns.
    """
    import pyarrow as pa

    sample: RowSample[RawRows] = RowSample.empty(size, seed)
    total = 0
    for offset, batch in pieces(source, rows):
        index = np.arange(offset, offset + batch.num_rows)
        wanted = sample.wanted(index)
        total += batch.num_rows
        if len(wanted):
            kept = pa.Table.from_batches([batch.take(pa.array(wanted))])
            sample = sample.add(index[wanted], RawRows(kept))
    if sample.rows is None:
        raise DataError("The table has no rows.", remedy="Give a table with rows; a header alone cannot be judged.")
    if not sample.rows.table.num_columns:
        raise DataError("The table has no columns.", remedy="Give a table with columns.")
    return sample.rows.table.take(pa.array(np.argsort(sample.index))), total


def accumulate(source: Source, encoder: Encoder, settings: GateSettings, *, rows: range | None = None) -> TableState:
    """Return the state of a whole table, or of a range of its rows.

    Raises:
        DataError: There are no rows.
    """
    pending: list[tuple[int, TableState]] = []  # (merges behind it, state), sizes falling
    for offset, batch in pieces(source, rows):
        held = pending[0][1] if pending else None
        pending.append((0, TableState.of(encoder, batch, offset, settings, held=held)))
        while len(pending) > 1 and pending[-1][0] == pending[-2][0]:
            level, last = pending.pop()
            pending[-1] = (level + 1, pending[-1][1].merge(last))
    if not pending:
        raise DataError("The table has no rows.", remedy="Give a table with rows; a header alone cannot be judged.")
    while len(pending) > 1:
        _, last = pending.pop()
        pending[-1] = (pending[-1][0], pending[-1][1].merge(last))
    return pending[0][1]


def pieces(source: Source, rows: range | None) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the batches of a range of rows, cut at its ends; of all rows without one."""
    for offset, batch in source.batches():
        if rows is None:
            yield offset, batch
            continue
        low, high = max(rows.start, offset), min(rows.stop, offset + batch.num_rows)
        if low < high:
            yield low, batch.slice(low - offset, high - low)
