"""The partial state of a whole table: what all statistics are finished from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.columns import CODES
from orchestai.validation.encode import Encoder
from orchestai.validation.neartext import Sketches, sketch
from orchestai.validation.settings import GateSettings
from orchestai.validation.states.hashes import HashCounts
from orchestai.validation.states.sample import RowSample

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class SampleRows:
    """Encoded rows of the sample."""

    codes: NDArray[np.int16]  # (n, columns used)
    features: NDArray[np.float32]  # (n, features)
    exact: NDArray[np.uint64]  # (n,)
    coarse: NDArray[np.uint64]  # (n,)

    def take(self, places: NDArray[np.int64]) -> Self:
        """Return these rows."""
        return type(self)(self.codes[places], self.features[places], self.exact[places], self.coarse[places])

    def concat(self, others: Sequence[Self]) -> Self:
        """Return these rows and then the others'."""
        parts = [self, *others]
        return type(self)(
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.exact for part in parts]),
            np.concatenate([part.coarse for part in parts]),
        )


@dataclass(frozen=True)
class TableState:
    """Everything that is kept of a table; its size does not grow with the rows.

    Attributes:
        rows: Rows seen.
        counts: Occurrences of each code of each column (columns used, CODES).
        bad_cells: Values of the wrong type or infinite, by column (columns used,).
        exact: Distinct rows.
        coarse: Distinct rows after quantising.
        sample: Encoded sample.
        texts: Sketches of the texts of a sample; None without text columns.
    """

    rows: int
    counts: NDArray[np.int64]
    bad_cells: NDArray[np.int64]
    exact: HashCounts
    coarse: HashCounts
    sample: RowSample[SampleRows]
    texts: RowSample[Sketches] | None = None

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        batch: pa.RecordBatch,
        offset: int,
        settings: GateSettings,
        *,
        held: TableState | None = None,
    ) -> TableState:
        """Make the state of one chunk that begins at row `offset`.

        Args:
            encoder: How the reference is read.
            batch: The rows.
            offset: Number of its first row.
            settings: Sizes.
            held: A state that this one will be merged into: rows that cannot enter its samples are not encoded.
        """
        found = encoder.encode(batch, features=False)
        counts = (
            np.stack([np.bincount(column, minlength=CODES) for column in found.codes.T])
            if len(encoder.used)
            else np.zeros((0, CODES), np.int64)
        )
        empty: RowSample[SampleRows] = RowSample.empty(settings.sample_rows, settings.seed)
        index = np.arange(offset, offset + batch.num_rows)
        wanted = (held.sample if held is not None else empty).wanted(index)
        return cls(
            rows=batch.num_rows,
            counts=counts.astype(np.int64),
            bad_cells=found.bad_cells,
            exact=HashCounts.of(found.exact, settings.exact_hashes),
            coarse=HashCounts.of(found.coarse, settings.exact_hashes),
            sample=empty.add(index[wanted], encode_rows(encoder, batch, wanted)),
            texts=_sketched(encoder, batch, index, settings, held),
        )

    def merge(self, other: TableState) -> TableState:
        """Return the state of both parts."""
        return TableState(
            rows=self.rows + other.rows,
            counts=self.counts + other.counts,
            bad_cells=self.bad_cells + other.bad_cells,
            exact=self.exact.merge(other.exact),
            coarse=self.coarse.merge(other.coarse),
            sample=self.sample.merge(other.sample),
            texts=_joined(self.texts, other.texts),
        )


def _sketched(
    encoder: Encoder, batch: pa.RecordBatch, index: NDArray[np.int64], settings: GateSettings, held: TableState | None
) -> RowSample[Sketches] | None:
    """Return the sketches of the rows that can enter the sample; None where there is no text."""
    names = [c.name for c in encoder.used if c.kind == "text" and not c.numeric and c.name in batch.schema.names]
    names = [name for name in names if _is_text(batch.schema.field(name).type)]
    if not names or not settings.near_text_rows:
        return None
    import pyarrow as pa

    empty: RowSample[Sketches] = RowSample.empty(settings.near_text_rows, settings.seed)
    before = held.texts if held is not None and held.texts is not None else empty
    wanted = before.wanted(index)
    return empty.add(index[wanted], sketch([batch.column(name).take(pa.array(wanted)) for name in names]))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def _joined(left: RowSample[Sketches] | None, right: RowSample[Sketches] | None) -> RowSample[Sketches] | None:
    if left is None or right is None:
        return left if right is None else right
    return left.merge(right)


def encode_rows(encoder: Encoder, batch: pa.RecordBatch, places: NDArray[np.int64]) -> SampleRows:
    """Encode these rows of a batch, features and all."""
    import pyarrow as pa

    found = encoder.encode(batch.take(pa.array(places)))
    assert found.features is not None
    return SampleRows(found.codes, found.features, found.exact, found.coarse)
