"""Texts that nearly repeat another one: MinHash sketches of word pairs, in bands.

A row's sketch holds the smallest hash of its word pairs under each of `HASHES` functions; two sketches agree in as
large a share of places as the texts share word pairs (Broder 1997). Rows that agree in all places of one of the bands
are compared, so that 89 % of the pairs with a Jaccard similarity of .7, and 98 % of those with .8, are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.hashing import Hashes, hash_texts, mix
from orchestai.validation.states.hashes import HashCounts
from orchestai.validation.states.sample import RowSample

if TYPE_CHECKING:
    import pyarrow as pa

HASHES = 32
BANDS = 8
NEAR = 0.7
"""Share of common word pairs from which on a text nearly repeats another one."""
FEWEST_WORDS = 5
_NOTHING = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class Sketches:
    """Sketches of rows; one without enough words has `_NOTHING` in every place."""

    places: NDArray[np.uint32]  # (n, HASHES)

    def take(self, places: NDArray[np.int64]) -> Self:
        """Return these rows."""
        return type(self)(self.places[places])

    def concat(self, others: Sequence[Self]) -> Self:
        """Return these rows and then the others'."""
        return type(self)(np.concatenate([self.places, *(other.places for other in others)]))


def sketch(columns: Sequence[pa.Array]) -> Sketches:
    """Return the sketches of rows with these text columns; all words of a row count together.

    Args:
        columns: Text columns (n,) of one batch.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = len(columns[0])
    out = np.full((rows, HASHES), _NOTHING, np.uint32)
    pairs: list[Hashes] = []
    owners: list[NDArray[np.int64]] = []
    words = np.zeros(rows, np.int64)
    for salt, column in enumerate(columns):
        text = column.cast(pa.large_string()) if not pa.types.is_large_string(column.type) else column
        split = pc.utf8_split_whitespace(pc.utf8_lower(text))
        coded = pc.dictionary_encode(pc.list_flatten(split))
        if not len(coded):
            continue
        owner = np.asarray(pc.list_parent_indices(split)).astype(np.int64)
        hashes = mix(hash_texts(coded.dictionary.to_pylist()), salt)[np.asarray(coded.indices)]
        words += np.bincount(owner, minlength=rows)
        same = owner[1:] == owner[:-1]
        pairs.append(mix(hashes[:-1] * np.uint64(3) + hashes[1:])[same])
        owners.append(owner[:-1][same])
    if not pairs:
        return Sketches(out)
    pair, owner = np.concatenate(pairs), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    pair, owner = pair[order], owner[order]
    if not len(owner):
        return Sketches(out)
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    filled = owner[starts]
    for place in range(HASHES):
        low = (mix(pair, 101 + place) >> np.uint64(32)).astype(np.uint32)
        out[filled, place] = np.minimum.reduceat(low, starts)
    out[words < FEWEST_WORDS] = _NOTHING
    return Sketches(out)


@dataclass(frozen=True)
class NearTexts:
    """Groups of rows whose texts nearly repeat each other.

    Attributes:
        index: Row numbers, ascending (n,).
        group: Group of each row (n,).
        later: Whether an earlier row of the group exists (n,).
    """

    index: NDArray[np.int64]
    group: NDArray[np.int64]
    later: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Return the share of rows that nearly repeat an earlier one."""
        return float(self.later.mean()) if len(self.later) else 0.0

    def counts(self) -> HashCounts:
        """Return how large the groups are, in the form that repetition is measured by."""
        sizes = np.bincount(self.group) if len(self.group) else np.empty(0, np.int64)
        names = np.arange(len(sizes), dtype=np.uint64)
        return HashCounts(len(sizes) + 1, names, sizes.astype(np.int64), int(sizes.sum()))


def find_near(sample: RowSample[Sketches] | None) -> NearTexts | None:
    """Group the rows of a sample; None where there is no text with enough words."""
    if sample is None or sample.rows is None:
        return None
    order = np.argsort(sample.index)
    places = sample.rows.places[order]
    told = (places != _NOTHING).any(1)
    if told.sum() < 2:
        return None
    index, places = sample.index[order][told], places[told]
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = len(places)
    width = HASHES // BANDS
    left, right = [], []
    for band in range(BANDS):
        key = np.zeros(rows, np.uint64)
        for place in range(band * width, (band + 1) * width):
            key = mix(key + places[:, place].astype(np.uint64), place)
        by_key = np.argsort(key, kind="stable")
        first = np.append(True, key[by_key][1:] != key[by_key][:-1])
        head = by_key[np.flatnonzero(first)[np.cumsum(first) - 1]]  # the earliest row with the same key
        one, two = head[~first], by_key[~first]
        near = (places[one] == places[two]).mean(1) >= NEAR
        left.append(one[near])
        right.append(two[near])
    one, two = np.concatenate(left), np.concatenate(right)
    graph = coo_matrix((np.ones(len(one), np.int8), (one, two)), shape=(rows, rows))
    group = connected_components(graph, directed=False)[1].astype(np.int64)
    later = np.ones(rows, bool)
    later[np.unique(group, return_index=True)[1]] = False
    return NearTexts(index, group, later)
