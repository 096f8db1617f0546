"""What to do, what it gains by scoring the table again as if it were done, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.localize import RowScores
from orchestai.validation.neartext import Sketches
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import DimensionScore, Recommendation
from orchestai.validation.scoring import collapse_score, score_dimensions
from orchestai.validation.settings import GateSettings
from orchestai.validation.states.hashes import HashCounts
from orchestai.validation.states.sample import RowSample
from orchestai.validation.states.table import TableState
from orchestai.validation.summary import Described

_WORTH_IT = 0.05
"""Points of the collapse score below which a fix is not worth a line."""
_LISTED_SHARE = 0.0005


class Fix(NamedTuple):
    """One thing that can be done: the table as it would be, and the words for it."""

    action: str
    title: str
    detail: str
    rows: int
    cost_usd: float
    apply: Callable[[TableState, Described], tuple[TableState, Described]] | None


def recommend(
    profile: ReferenceProfile,
    state: TableState,
    table: Described | None,
    dimensions: dict[str, DimensionScore],
    scores: RowScores | None,
    settings: GateSettings,
    *,
    alone: Callable[[TableState], dict[str, DimensionScore]] | None,
) -> tuple[list[Recommendation], float | None]:
    """Return the fixes, the best first, and the collapse score if all of them are done.

    Args:
        profile: The reference.
        state: State of the table.
        table: Its described sample; None if it has no geometry.
        dimensions: Scores as they are.
        scores: Row strengths; None if localisation failed.
        settings: Thresholds and prices.
        alone: Scores a state where there is no reference.
    """
    before = collapse_score(dimensions)
    if before is None or table is None:
        return [], None
    found: list[Recommendation] = []
    done_state, done_table, any_done = state, table, False

    def score(new_state: TableState, new_table: Described) -> float | None:
        if not new_table.rows:  # the fix would leave nothing
            return None
        if alone is not None:
            return collapse_score(alone(new_state))
        return collapse_score(score_dimensions(profile.compare(new_state, new_table), settings))

    for fix in _fixes(profile, state, table, dimensions, scores, settings, with_reference=alone is None):
        if fix.apply is None:
            found.append(_listed(fix, before, None, settings))
            continue
        after = score(*fix.apply(state, table))
        if after is not None and after - before >= _WORTH_IT:
            found.append(_listed(fix, before, after, settings))
            done_state, done_table = fix.apply(done_state, done_table)
            any_done = True
    measured = [each for each in found if each.measured]
    projected = before
    if len(measured) == 1:
        projected = measured[0].projected_score or before
    elif any_done:
        projected = score(done_state, done_table) or before
    order = {"high": 0, "medium": 1, "low": 2}
    found.sort(key=lambda each: (order[each.priority], -each.estimated_impact, each.action))
    return found, projected


def _listed(fix: Fix, before: float, after: float | None, settings: GateSettings) -> Recommendation:
    gain = (after - before) if after is not None else 0.0
    saves = after is not None and before < settings.collapse_threshold <= after
    priority: Literal["high", "medium", "low"] = "high" if saves or gain >= 10 else "medium" if gain >= 2 else "low"
    return Recommendation(
        title=fix.title,
        action=fix.action,
        detail=fix.detail,
        estimated_impact=round(gain, 2),
        projected_score=None if after is None else round(after, 2),
        rows=fix.rows,
        cost_usd=round(fix.cost_usd, 2),
        priority=priority,
        measured=after is not None,
    )


def _fixes(
    profile: ReferenceProfile,
    state: TableState,
    table: Described,
    dimensions: dict[str, DimensionScore],
    scores: RowScores | None,
    settings: GateSettings,
    *,
    with_reference: bool,
) -> list[Fix]:
    prices = settings.prices
    fixes: list[Fix] = []
    if scores is not None:
        words = {
            "repeated": ("drop_repeated", "Drop rows that repeat another one", "Keep the first of each."),
            "copied": ("drop_copied", "Drop rows that stand in the reference", "They teach nothing new."),
            "near_repeated": ("drop_near_repeated", "Drop texts that nearly repeat another one", "Keep the first."),
            "label": ("review_labels", "Correct or drop rows with doubtful labels", "Another class fits them better."),
            "outlier": ("drop_outliers", "Drop rows that lie outside the reference", "Nothing like them is known."),
        }
        for name, (action, title, detail) in words.items():
            if name not in scores.named:
                continue
            rows = int(scores.named[name].sum())
            if rows < max(1, _LISTED_SHARE * state.rows) or (name in ("copied", "outlier") and not with_reference):
                continue
            price = prices.review_row_usd if name == "label" else prices.remove_row_usd
            if name == "label" and not with_reference:
                fixes.append(Fix(action, title, detail, rows, rows * price, None))
                continue
            fixes.append(Fix(action, title, detail, rows, rows * price, _dropper(profile, scores, name)))
    fixes += _collections(profile, table, dimensions, settings, state.rows) if with_reference else []
    quality = dimensions.get("quality_degradation")
    bad = quality.detail.get("impossible_values", 0.0) if quality is not None else 0.0
    if isinstance(bad, float) and bad > 0:
        rows = int(state.bad_cells.max())
        title = "Repair infinities and texts in numeric columns"
        fixes.append(Fix("repair_values", title, "See the cells.", rows, prices.engineer_hour_usd, None))
    return fixes


def _dropper(
    profile: ReferenceProfile, scores: RowScores, name: str
) -> Callable[[TableState, Described], tuple[TableState, Described]]:
    def apply(state: TableState, table: Described) -> tuple[TableState, Described]:
        if state.texts is not None:  # a row that goes takes its texts along
            state = replace(state, texts=_kept(state.texts, ~scores.named[name], scores.first))
        kept = np.flatnonzero(~scores.named[name][table.index % (1 << 40) - scores.first])
        sample = state.sample
        assert sample.rows is not None
        whole = len(sample.index) == state.rows
        sample = replace(sample, index=sample.index[kept], rows=sample.rows.take(kept))
        assert sample.rows is not None
        if whole:  # every row is at hand: what is left is counted anew
            exact = HashCounts.of(sample.rows.exact, state.exact.size)
            coarse = HashCounts.of(sample.rows.coarse, state.coarse.size)
        else:
            exact, coarse = _estimated(state, profile, name)
        rows = max(round(len(kept) / max(table.rows, 1) * state.rows), 1)
        return replace(state, rows=rows, exact=exact, coarse=coarse, sample=sample), table.take(kept)

    return apply


def _kept(texts: RowSample[Sketches], keep: NDArray[np.bool_], first: int) -> RowSample[Sketches]:
    """Return the sketches of the rows that are kept."""
    left = np.flatnonzero(keep[texts.index - first])
    rows = texts.rows.take(left) if texts.rows is not None else None
    return replace(texts, index=texts.index[left], rows=rows)


def _estimated(state: TableState, profile: ReferenceProfile, name: str) -> tuple[HashCounts, HashCounts]:
    """Return the distinct rows that are left of a table of which only a sample is at hand."""
    exact, coarse = state.exact, state.coarse
    if name == "repeated":
        dropped = int(exact.counts.sum()) - len(exact.hashes)
        return _with_counts(exact, np.ones_like(exact.counts)), _with_counts(coarse, _without(coarse.counts, dropped))
    if name == "copied":
        return _not_in(exact, profile.state.exact), _not_in(coarse, profile.state.coarse)
    return exact, coarse


def _not_in(counts: HashCounts, reference: HashCounts) -> HashCounts:
    mine = ~np.isin(counts.hashes, reference.hashes)
    return HashCounts(counts.size, counts.hashes[mine], counts.counts[mine], int(counts.counts[mine].sum()))


def _with_counts(hashes: HashCounts, counts: NDArray[np.int64]) -> HashCounts:
    return HashCounts(hashes.size, hashes.hashes, counts, int(counts.sum()))


def _without(counts: NDArray[np.int64], dropped: int) -> NDArray[np.int64]:
    """Take `dropped` rows from the groups that have more than one, the largest first."""
    counts = counts.copy()
    for place in np.argsort(-counts, kind="stable"):
        taken = min(dropped, int(counts[place]) - 1)
        if taken <= 0:
            break
        counts[place] -= taken
        dropped -= taken
    return counts


def _collections(
    profile: ReferenceProfile,
    table: Described,
    dimensions: dict[str, DimensionScore],
    settings: GateSettings,
    rows: int,
) -> list[Fix]:
    """Propose to collect what the table lacks: rows of the cells that the reference has more of.

    As if it were done: rows of the reference sample stand for the rows to be collected.
    """
    concerned = ("mode_collapse", "distribution_shift", "diversity_loss", "spectral_degradation")
    low = [name for name in concerned if (dimensions[name].score or 100.0) < settings.warn_threshold]
    reference = profile.described
    if not low or reference is None or profile.space is None:
        return []
    cells = len(profile.space.cells)
    have = np.bincount(table.cell, minlength=cells + 1)[:cells]
    want = np.bincount(reference.cell, minlength=cells + 1)[:cells] / reference.rows
    scale = float(np.max(np.where(want > 0.01, have / np.maximum(want, 1e-9), 0)))
    if scale <= 0:
        return []
    scale = min(scale, 3.0 * table.rows)
    short = np.maximum(np.round(want * scale) - have, 0).astype(np.int64)
    total = int(short.sum())
    if total < 0.01 * table.rows:
        return []
    rng = np.random.default_rng([settings.seed, 53])
    picked = [
        rng.choice(np.flatnonzero(reference.cell == cell), size=int(count))
        for cell, count in enumerate(short)
        if count and (reference.cell == cell).any()
    ]
    places = np.concatenate(picked) if picked else np.empty(0, np.int64)
    needed = int(total * rows / max(table.rows, 1))
    title = "Collect rows of the kinds that are missing"
    thin = int((short > 0).sum())
    text = f"{thin} of {cells} kinds of rows are thinner than in the reference; low: {', '.join(low)}."

    def apply(state: TableState, described: Described) -> tuple[TableState, Described]:
        return state, described.concat(reference.take(places))

    return [Fix("collect_missing", title, text, needed, needed * settings.prices.collect_row_usd, apply)]
