"""The reference's columns as one encoder: raw batches in; codes, features and row hashes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.columns import (
    CODES,
    Column,
    Raw,
    fit_column,
    read_column,
    texts_as_numbers,
)
from orchestai.validation.hashing import Hashes, mix

if TYPE_CHECKING:
    import pyarrow as pa

FEATURE_LIMIT = 512
COLUMN_LIMIT = 1_024
_SLAB = 1_024


class Encoded(NamedTuple):
    """A batch in numbers."""

    codes: NDArray[np.int16]  # (n, columns used)
    features: NDArray[np.float32] | None  # (n, features)
    exact: Hashes  # (n,) of all values but those of ids
    coarse: Hashes  # (n,) of the codes
    bad_cells: NDArray[np.int64]  # (columns used,) infinities, or texts where numbers belong


@dataclass(frozen=True)
class Encoder:
    """Reads batches as the reference was read.

    Attributes:
        columns: All columns of the reference.
        used: Those that geometry looks at; at most `COLUMN_LIMIT`, spread evenly.
        label: Name of the label, or None. Its codes are in `codes` too.
        feature_columns: Place in `used` of the owner of each feature (features,).
    """

    columns: tuple[Column, ...]
    used: tuple[Column, ...]
    label: str | None
    feature_columns: NDArray[np.int64]
    kept: NDArray[np.int64]

    @property
    def label_place(self) -> int | None:
        """Place of the label in `codes`."""
        return next((place for place, column in enumerate(self.used) if column.name == self.label), None)

    def encode(self, batch: pa.RecordBatch, *, features: bool = True) -> Encoded:
        """Encode a batch; a column that it lacks is missing in every row."""
        known = {column.name: column for column in self.used}
        present = {name: place for place, name in enumerate(batch.schema.names)}
        rows = batch.num_rows
        by_column = np.empty((len(self.used), rows), np.int16)  # whole columns are written and read
        exact = np.zeros(rows, np.uint64)
        blocks: list[NDArray[np.float32]] = []
        bad = np.zeros(len(self.used), np.int64)
        raws: dict[str, Raw] = {}
        for salt, column in enumerate(self.columns):
            if column.name not in present:
                continue
            if column.kind == "id" and self.used:
                continue
            raw = read_column(batch.column(present[column.name]))
            exact += mix(raw.hashes(), salt + 11)
            if column.name in known:
                raws[column.name] = raw
        for place, column in enumerate(self.used):
            raw = raws.pop(column.name) if column.name in raws else _missing(rows, numeric=column.numeric)
            by_column[place] = found = column.codes(raw)
            bad[place] = _impossible(column, raw)
            if features and column.name != self.label:
                blocks.append(column.features(raw, found))
        codes = by_column.T
        table = self._table(blocks, rows) if features else None
        return Encoded(codes, table, mix(exact), hash_codes(codes), bad)

    def _table(self, blocks: list[NDArray[np.float32]], rows: int) -> NDArray[np.float32]:
        """Return the blocks side by side (n, features).

        Through a table by columns that is turned in slabs: to write narrow blocks into long rows one after the other
        touches all memory for each of them.
        """
        by_feature = np.empty((sum(block.shape[1] for block in blocks), rows), np.float32)
        place = 0
        for block in blocks:
            by_feature[place : place + block.shape[1]] = block.T
            place += block.shape[1]
        if len(self.kept) != len(by_feature):
            by_feature = by_feature[self.kept]
        table = np.empty((rows, len(by_feature)), np.float32)
        for start in range(0, rows, _SLAB):
            table[start : start + _SLAB] = by_feature[:, start : start + _SLAB].T
        return table


def hash_codes(codes: NDArray[np.int16]) -> Hashes:
    """Return a hash of each row of codes (n,)."""
    total = np.zeros(len(codes), np.uint64)
    for place in range(codes.shape[1]):
        # A table of CODES hashes is looked up: mixing every cell would cost ten times as much.
        table = mix(np.arange(CODES, dtype=np.uint64), place * 7919 + 5)
        total += table[codes[:, place]]
    return mix(total)


def fit_encoder(sample: pa.Table, *, label: str | None) -> Encoder:
    """Learn to read tables like `sample`."""
    columns = []
    for name in sample.column_names:
        raw = read_column(sample[name].combine_chunks() if sample[name].num_chunks != 1 else sample[name].chunk(0))
        columns.append(fit_column(name, raw, allow_id=name != label))
    usable = [column for column in columns if column.used]
    if len(usable) > COLUMN_LIMIT:
        picked = {int(place) for place in np.linspace(0, len(usable) - 1, COLUMN_LIMIT)}
        usable = [c for place, c in enumerate(usable) if place in picked or c.name == label]
    owners = [place for place, column in enumerate(usable) for _ in range(column.width) if column.name != label]
    kept = np.arange(len(owners))
    if len(owners) > FEATURE_LIMIT:
        kept = np.unique(np.linspace(0, len(owners) - 1, FEATURE_LIMIT).astype(np.int64))
    return Encoder(tuple(columns), tuple(usable), label, np.asarray(owners, np.int64)[kept], kept)


def _impossible(column: Column, raw: Raw) -> int:
    """Count infinities, and texts in a column of numbers."""
    if raw.numbers is not None:
        return int(np.isinf(raw.numbers).sum())
    if not column.numeric:
        return 0
    return int((~np.isfinite(texts_as_numbers(raw)) & ~raw.null).sum())


def _missing(rows: int, *, numeric: bool) -> Raw:
    null = np.ones(rows, bool)
    if numeric:
        return Raw(np.full(rows, np.nan), None, [], null)
    return Raw(None, np.full(rows, -1, np.int64), [], null)
