"""All that is learned from the reference, once, before any table is compared with it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.accumulate import accumulate, sample_raw
from orchestai.validation.compare import Comparison
from orchestai.validation.encode import Encoder, fit_encoder, hash_codes
from orchestai.validation.meaning import sampled_texts
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source
from orchestai.validation.space import Space, fit_space
from orchestai.validation.states.table import SampleRows, TableState
from orchestai.validation.summary import Described, MarkBins, Summary, draw_weights, fit_bins, repeated, summarize
from orchestai.validation.target import Target, choose_target, guess_label

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestai.validation.cascade import Cascade

_DESTROYED = 1_000
_WITHIN = 0.995
_SHIFTED_INDEX = 1 << 40


@dataclass
class ReferenceProfile:
    """The reference, ready to be compared with.

    Attributes:
        encoder: How its columns are read.
        state: State of the whole table.
        space: Its geometry; None where it has too few rows or nothing to measure in.
        target: What the cascade predicts.
        cascade: The trained cascade.
        described: Its sample, each row described without itself.
        reach: Distance to the third nearest reference row beyond which a row belongs to no cell.
        texts: Texts of some of its rows.
        kind: `given`, `blocks` or `none`: where the reference comes from.
    """

    settings: GateSettings
    encoder: Encoder
    state: TableState
    space: Space | None
    target: Target | None
    cascade: Cascade | None
    described: Described | None
    bins: dict[str, MarkBins]
    destroyed: Described | None
    holdout: NDArray[np.float32] | None
    holdout_state: TableState | None
    columns: tuple[str, ...]
    reach: float = np.inf
    texts: tuple[str, ...] = ()
    _nulls: OrderedDict[int, tuple[Summary, Summary]] = field(default_factory=OrderedDict, repr=False)
    _drawn: dict[tuple[str | int, ...], NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @classmethod
    def fit(
        cls,
        source: Source,
        settings: GateSettings,
        *,
        holdout: Source | None = None,
        label: str | None = None,
        rows: range | None = None,
    ) -> ReferenceProfile:
        """Learn the reference.

        Args:
            source: The reference.
            settings: Sizes.
            holdout: Rows of the same origin that nothing was trained on.
            label: What is to be predicted; guessed if not given.
            rows: Only these rows of `source`.

        Raises:
            DataError: A table has no rows, or the label cannot be used.
        """
        raw, _ = sample_raw(source, max(settings.sample_rows, 10_000), settings.seed, rows=rows)
        encoder, kind = encoder_of(raw, label)
        state = accumulate(source, encoder, settings, rows=rows)
        profile = profile_of(state, encoder, kind, settings, tuple(raw.column_names))
        profile.texts = sampled_texts(raw, encoder.columns, settings)
        if holdout is not None and profile.space is not None:
            profile.holdout_state = accumulate(holdout, encoder, settings)
            assert profile.holdout_state.sample.rows is not None
            profile.holdout, _ = profile.space.distance(profile.space.project(profile.holdout_state.sample.rows))
        return profile

    def describe(self, state: TableState) -> Described:
        """Describe the sample of another table as the reference's own rows are described."""
        assert self.space is not None
        rows = state.sample.rows
        assert rows is not None
        return _describe(self, rows, state.sample.index + _SHIFTED_INDEX)

    def compare(self, state: TableState, table: Described | None = None) -> Comparison:
        """Put a table beside the reference."""
        assert self.space is not None
        assert self.described is not None
        assert self.destroyed is not None
        table = table if table is not None else self.describe(state)
        cells = self.space.kinds
        null_tables, null_references = self.null_draws(table.rows)
        return Comparison(
            settings=self.settings,
            encoder=self.encoder,
            space=self.space,
            table=table,
            reference=self.described,
            table_summary=summarize(table, cells),
            reference_summary=summarize(self.described, cells),
            null_tables=null_tables,
            null_references=null_references,
            table_state=state,
            reference_state=self.state,
            holdout=self.holdout,
            holdout_hashes=self.holdout_state.exact if self.holdout_state is not None else None,
            target=self.target,
            destroyed=summarize(self.destroyed, cells),
            destroyed_rows=self.destroyed,
            drawn=self._drawn,
        )

    def null_draws(self, rows: int) -> tuple[Summary, Summary]:
        """Return healthy draws of the table's size, and the reference beside each of them.

        The draws vary by as much as samples of both sizes from one origin do; the reference stays what it is, for
        bins, axes and cells were fitted to it, and a new table is always a little worse described by them.
        """
        if rows not in self._nulls:
            assert self.space is not None
            assert self.described is not None
            rng = np.random.default_rng([self.settings.seed, 31])
            draws, own = self.settings.null_draws, self.described.rows
            cells = self.space.kinds
            tables = summarize(self.described, cells, draw_weights(rng, own, rows, draws))
            references = repeated(summarize(self.described, cells), draws)
            self._nulls[rows] = tables._replace(rows=rows), references
            while len(self._nulls) > 4:
                self._nulls.popitem(last=False)
        return self._nulls[rows]


def encoder_of(raw: pa.Table, label: str | None) -> tuple[Encoder, Literal["given", "guessed", "self-supervised"]]:
    """Learn the columns; a label that is not given is guessed by its name."""
    if label is not None:
        return fit_encoder(raw, label=label), "given"
    plain = fit_encoder(raw, label=None)
    guess = guess_label(raw.column_names, list(plain.columns))
    return (plain, "self-supervised") if guess is None else (fit_encoder(raw, label=guess), "guessed")


def profile_of(
    state: TableState,
    encoder: Encoder,
    kind: Literal["given", "guessed", "self-supervised"],
    settings: GateSettings,
    columns: tuple[str, ...],
    *,
    networks: bool = True,
) -> ReferenceProfile:
    """Finish the state of a reference: geometry, cascade (unless `networks` is false), descriptions.

    Raises:
        DataError: The label given is not usable.
    """
    rows = state.sample.rows
    assert rows is not None
    target = choose_target(encoder, rows, kind)
    profile = ReferenceProfile(
        settings=settings,
        encoder=encoder,
        state=state,
        space=fit_space(encoder, rows, seed=settings.seed),
        target=target,
        cascade=None,
        described=None,
        bins={},
        destroyed=None,
        holdout=None,
        holdout_state=None,
        columns=columns,
    )
    if profile.space is None:
        return profile
    if networks and target is not None and rows.features.shape[1] and len(rows.codes) >= 100:
        from orchestai.validation.cascade import Cascade

        profile.cascade = Cascade(rows.features.shape[1], target.classes, seed=settings.seed)
        profile.cascade.fit(target.inputs(rows.features), target.classes_of(rows.codes), state.sample.index)
    plain = _describe(profile, rows, state.sample.index, own=True)
    profile.reach = float(np.quantile(plain.typicality, _WITHIN))
    plain = replace(plain, cell=np.where(plain.typicality <= profile.reach, plain.cell, len(profile.space.cells)))
    scores = {"typicality": plain.typicality}
    if plain.gradient is not None:
        scores["gradient"] = plain.gradient
    profile.bins = {name: fit_bins(values) for name, values in scores.items()}
    profile.described = _marked(profile, plain)
    profile.destroyed = _describe(profile, _shuffled(rows, settings.seed), np.arange(_DESTROYED) + _SHIFTED_INDEX)
    return profile


def _describe(profile: ReferenceProfile, rows: SampleRows, index: NDArray[np.int64], *, own: bool = False) -> Described:
    space, target = profile.space, profile.target
    assert space is not None
    index = index[: len(rows.codes)]
    points = space.project(rows)
    nearest, third = space.distance(points, leave_self_out=own)
    gradient = own_probability = probabilities = classes = None
    if target is not None and profile.cascade is not None:
        classes = target.classes_of(rows.codes)
        found = profile.cascade.predict(target.inputs(rows.features), classes, index)
        gradient, probabilities = found.gradient_norms, found.probabilities
        picked = probabilities[np.arange(len(classes)), classes.clip(0)]
        own_probability = np.where(classes >= 0, picked, np.nan).astype(np.float32)
    cell = np.where(third <= profile.reach, space.cell_of(points), len(space.cells))
    plain = Described(
        index, rows.codes, points, points.clip(*space.bounds), space.kernel_features(points), cell, nearest, third,
        gradient, own_probability, probabilities, classes, {},
    )  # fmt: skip
    return plain if own else _marked(profile, plain)


def _marked(profile: ReferenceProfile, plain: Described) -> Described:
    marks = {}
    for name, bins in profile.bins.items():
        values = plain.typicality if name == "typicality" else plain.gradient
        if values is not None:
            marks[name] = bins.of(values)
    return Described(**{**plain.__dict__, "marks": marks})


def _shuffled(rows: SampleRows, seed: int) -> SampleRows:
    """Return rows in which every column is drawn alone: what a destroyed table looks like."""
    rng = np.random.default_rng([seed, 41])
    count = min(_DESTROYED, len(rows.codes))
    codes, features = rows.codes[:count].copy(), rows.features[:count].copy()
    for place in range(codes.shape[1]):
        codes[:, place] = rng.permutation(codes[:, place])
    for place in range(features.shape[1]):
        features[:, place] = rng.permutation(features[:, place])
    return SampleRows(codes, features, rows.exact[:count], hash_codes(codes))
