"""One pass that gives every row a strength between 0 and 1 for each kind of problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.accumulate import pieces
from orchestai.validation.cascade import Cascade
from orchestai.validation.encode import Encoded
from orchestai.validation.localize.labels import suspects
from orchestai.validation.localize.trees import opinions, tree_inputs
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source
from orchestai.validation.states.hashes import HashCounts
from orchestai.validation.states.table import SampleRows, TableState

if TYPE_CHECKING:
    import pyarrow as pa

_NATURAL = 0.1
"""Beyond this share of repetition in healthy rows, a repeated row is no problem."""
_NEAR_ROWS = 20_000
"""Rows whose neighbours are looked for: the most surprising ones, where there are more."""
_TAIL = 1e-3

Strengths = NDArray[np.float32]


@dataclass
class RowScores:
    """Strengths by locator, and which rows each locator names.

    Attributes:
        strength: Between 0 and 1, the higher the worse (n,), by locator.
        named: Whether the locator calls the row a problem (n,), by locator.
        labels: Out-of-fold probability of the row's own label (n,), NaN where unknown; None without a label.
        predicted: Most likely label of each row (n,), or None.
        first: Number of the first row.
        looked_at: The rows asked for, as they were read.
    """

    strength: dict[str, Strengths]
    named: dict[str, NDArray[np.bool_]]
    labels: Strengths | None
    predicted: NDArray[np.int64] | None
    first: int = 0
    looked_at: pa.Table | None = None


class _Repeats:
    """Names the second and later occurrence of every row that repeats."""

    def __init__(self, counts: HashCounts) -> None:
        self._hashes = counts.hashes[counts.counts > 1]
        self._seen = np.zeros(len(self._hashes), bool)

    def of(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._hashes):
            return np.zeros(len(hashes), bool)
        place = np.searchsorted(self._hashes, hashes).clip(0, len(self._hashes) - 1)
        repeated = self._hashes[place] == hashes
        groups = place[repeated]
        _, first = np.unique(groups, return_index=True)
        again = np.ones(len(groups), bool)
        again[first] = self._seen[groups[first]]
        self._seen[groups] = True
        out = np.zeros(len(hashes), bool)
        out[repeated] = again
        return out


class _LabelJudge:
    """Gathers what is needed to judge every label: by trees on all rows, or batch by batch by the networks.

    Trees judge better (lab log), but to ask them about millions of rows would take minutes.
    """

    def __init__(self, profile: ReferenceProfile, state: TableState, cascade: Cascade | None) -> None:
        target = profile.target
        labelled = target is not None and target.kind != "self-supervised"
        self._profile = profile
        self._by_trees = labelled and trees_judge(profile.settings, state.rows)
        self._cascade = cascade if labelled and not self._by_trees else None
        self._inputs: list[Strengths] = []
        self._classes: list[NDArray[np.int64]] = []

    @property
    def wants_features(self) -> bool:
        """Whether batches must be encoded with their features."""
        return self._by_trees or self._cascade is not None

    def add(self, encoded: Encoded, offset: int) -> None:
        """Take a batch that begins at row `offset`."""
        target = self._profile.target
        if target is None or encoded.features is None:
            return
        classes = target.classes_of(encoded.codes)
        if self._by_trees:
            rows = SampleRows(encoded.codes, encoded.features, encoded.exact, encoded.coarse)
            self._inputs.append(tree_inputs(self._profile.encoder, target, rows))
            self._classes.append(classes)
        elif self._cascade is not None:
            index = np.arange(offset, offset + len(classes))
            self._inputs.append(_opinion(self._cascade.predict_many(target.inputs(encoded.features), index), classes))

    def finish(self) -> tuple[Strengths, Strengths] | None:
        """Return the probability of each row's own label (n,), and `_opinion` without it (n, 3); None without one."""
        if not self._inputs:
            return None
        found = np.concatenate(self._inputs)
        if self._by_trees:
            assert self._profile.target is not None
            classes = np.concatenate(self._classes)
            predicted = opinions(found, classes, self._profile.target.classes, seed=self._profile.settings.seed)
            if predicted is None:
                return None
            found = _opinion(predicted, classes)
        return found[:, 0], found[:, 1:]


def trees_judge(settings: GateSettings, rows: int) -> bool:
    """Say whether a table of this size has its labels judged by trees."""
    return rows <= settings.cascade_rows


def score_rows(
    source: Source,
    profile: ReferenceProfile,
    state: TableState,
    cascade: Cascade | None,
    *,
    with_reference: bool,
    natural: float,
    label_excess: float | None = None,
    rows: range | None = None,
    look_at: NDArray[np.int64] | None = None,
) -> RowScores:
    """Look at every row once.

    Args:
        source: The table.
        profile: The reference, or the table itself.
        state: Its state.
        cascade: Trained on the table itself: judges the labels where there are too many rows for trees.
        with_reference: Whether `profile` is another table.
        natural: Share of repetition that is natural.
        label_excess: Share of wrong labels, where it could be measured.
        rows: Only these rows.
        look_at: Numbers of rows to return as they were read, ascending.
    """
    import pyarrow as pa

    seen: list[pa.Table] = []
    first = rows.start if rows is not None else 0
    encoder = profile.encoder
    repeats = _Repeats(state.exact)
    copied = profile.state.exact.hashes if with_reference and profile.settings.count_copies else None
    surprise_table = _surprise(profile)
    found: dict[str, list[Strengths]] = {"repeated": [], "copied": [], "surprise": []}
    kept: list[tuple[NDArray[np.int64], SampleRows]] = []
    judge = _LabelJudge(profile, state, cascade)
    share = min(1.0, _NEAR_ROWS / max(state.rows, 1))
    for offset, batch in pieces(source, rows):
        whole = state.rows <= _NEAR_ROWS
        encoded = encoder.encode(batch, features=judge.wants_features or whole)
        if look_at is not None:
            low, high = np.searchsorted(look_at, [offset, offset + batch.num_rows])
            if high > low:
                seen.append(pa.Table.from_batches([batch.take(pa.array(look_at[low:high] - offset))]))
        found["repeated"].append(repeats.of(encoded.exact).astype(np.float32))
        if copied is not None:
            found["copied"].append(_among(copied, encoded.exact).astype(np.float32))
        surprise = _surprises(encoded, surprise_table)
        found["surprise"].append(surprise)
        judge.add(encoded, offset)
        if profile.space is not None:
            kept.append(_candidates(profile, batch, encoded, surprise, share, offset))
    strength = {name: np.concatenate(parts) for name, parts in found.items() if parts and name != "surprise"}
    named = {name: values > 0 for name, values in strength.items()}
    if natural > _NATURAL:
        del strength["repeated"], named["repeated"]
    strength["outlier"], named["outlier"] = _outliers(
        profile, kept, sum(map(len, found["surprise"])), first, with_reference
    )
    labels = predicted_classes = None
    if (judged := judge.finish()) is not None:
        labels, best = judged
        predicted_classes = best[:, 0].astype(np.int64)
        strength["label"], named["label"] = suspects(labels, best, label_excess)
    looked_at = pa.concat_tables(seen, promote_options="permissive") if seen else None
    return RowScores(strength, named, labels, predicted_classes, first, looked_at)


def _among(known: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which hashes occur in `known`, which ascends (n,); `np.isin` would sort both again for every batch."""
    if not len(known):
        return np.zeros(len(hashes), bool)
    place = np.searchsorted(known, hashes).clip(0, len(known) - 1)
    return np.asarray(known[place] == hashes)


def _opinion(probabilities: Strengths, classes: NDArray[np.int64]) -> Strengths:
    """Return the row's own probability (NaN if unknown), the most likely class, its probability, the class (n, 4)."""
    every = np.arange(len(classes))
    own = np.where(classes >= 0, probabilities[every, classes.clip(0)], np.nan)
    top = probabilities.argmax(1)
    return np.stack([own, top, probabilities[every, top], classes], axis=1).astype(np.float32)


def _surprise(profile: ReferenceProfile) -> NDArray[np.float32]:
    """Return the surprise of each code of each column, by the reference (columns, CODES)."""
    counts = profile.state.counts.astype(np.float64)
    shares = (counts + 0.5) / (counts.sum(1, keepdims=True) + 0.5 * counts.shape[1])
    table = -np.log(shares)
    # Rare levels of a category with many are no surprise by themselves.
    return np.asarray(table - (shares * table).sum(1, keepdims=True), np.float32)


def _surprises(encoded: Encoded, table: NDArray[np.float32]) -> NDArray[np.float32]:
    total = np.zeros(len(encoded.codes), np.float32)
    for place in range(len(table)):
        total += table[place][encoded.codes[:, place]]
    return total


def _candidates(
    profile: ReferenceProfile,
    batch: object,
    encoded: Encoded,
    surprise: NDArray[np.float32],
    share: float,
    offset: int,
) -> tuple[NDArray[np.int64], SampleRows]:
    """Return the rows of a batch whose neighbours are looked for."""
    from orchestai.validation.states.table import encode_rows

    rows = len(surprise)
    if share >= 1 and encoded.features is not None:
        places = np.arange(rows)
        return places + offset, SampleRows(encoded.codes, encoded.features, encoded.exact, encoded.coarse)
    count = max(1, int(rows * share))
    places = np.sort(np.argpartition(-surprise, count - 1)[:count])
    if encoded.features is not None:
        kept = SampleRows(encoded.codes, encoded.features, encoded.exact, encoded.coarse)
        return places + offset, kept.take(places)
    return places + offset, encode_rows(profile.encoder, batch, places)


def _outliers(
    profile: ReferenceProfile,
    kept: list[tuple[NDArray[np.int64], SampleRows]],
    total: int,
    first: int,
    with_reference: bool,
) -> tuple[Strengths, NDArray[np.bool_]]:
    """Rate the distance to the third nearest row of the reference among the reference's own distances."""
    strength, named = np.zeros(total, np.float32), np.zeros(total, bool)
    if profile.space is None or profile.described is None or not kept:
        return strength, named
    own = np.sort(profile.described.typicality)
    limit = np.quantile(own, 1 - _TAIL)
    middle = max(float(np.median(own)), 1e-6)
    for index, rows in kept:
        points = profile.space.project(rows)
        far = profile.space.distance(points)[1]
        if not with_reference:  # the rows themselves are among the points: their own distance 0 counts as nearest
            far = far * np.float32(1.15)
        place = index - first
        rank = np.searchsorted(own, far) / max(len(own), 1)
        beyond = 1 - np.exp(-((far - limit) / middle).clip(0))
        strength[place] = np.where(far > limit, 0.5 + 0.5 * beyond, 0.5 * rank**8)
        named[place] = far > limit * 1.25
    return strength, named
