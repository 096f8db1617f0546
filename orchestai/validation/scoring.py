"""Scores of all eight dimensions for a table beside a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestai.validation.accumulate import accumulate
from orchestai.validation.calibrate import combined, dimension, not_measurable
from orchestai.validation.collapse import MEASURES, NOTHING
from orchestai.validation.collapse.pattern_repetition import excess
from orchestai.validation.compare import Comparison
from orchestai.validation.decide import Decision, decide
from orchestai.validation.diversity import measure_diversity
from orchestai.validation.neartext import find_near
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.result import DimensionScore, DiversityScores, Reading
from orchestai.validation.settings import DIMENSIONS, GateSettings
from orchestai.validation.source import Source, TableLike

NO_GEOMETRY = "the reference has too few rows or no column to measure in"


def score_dimensions(given: Comparison, settings: GateSettings) -> dict[str, DimensionScore]:
    """Measure every dimension."""
    found: dict[str, DimensionScore] = {}
    for name, measure in MEASURES.items():
        readings, detail = measure(given)
        if name == "pattern_repetition":
            readings, detail = _with_texts(given, readings, detail)
        found[name] = dimension(
            readings,
            warn=settings.warn_threshold,
            critical=settings.critical_threshold,
            nothing=NOTHING[name],
            detail=detail,
        )
    return found


def _with_texts(
    given: Comparison, readings: Sequence[Reading | None], detail: dict[str, object]
) -> tuple[Sequence[Reading | None], dict[str, object]]:
    """Add texts that nearly repeat another one, beyond what is natural in the reference."""
    mine, theirs = find_near(given.table_state.texts), find_near(given.reference_state.texts)
    if mine is None or theirs is None:
        return readings, detail
    found = excess("nearly repeated texts", mine.counts(), theirs.counts(), given)
    shares = {"nearly_repeated_texts": mine.share, "nearly_repeated_texts_reference": theirs.share}
    return [*readings, found], detail | shares


def collapse_score(dimensions: dict[str, DimensionScore]) -> float | None:
    """Return half the mean and half the worst of the measured dimensions."""
    return combined([found.score for found in dimensions.values() if found.score is not None])


class Judgement(NamedTuple):
    """A decision with its scores, without looking for rows."""

    dimensions: dict[str, DimensionScore]
    collapse: float | None
    diversity: DiversityScores
    decision: Decision


def judge(profile: ReferenceProfile, data: TableLike, settings: GateSettings) -> Judgement:
    """Score a table against a profile and decide: the gate without cascade, localisation and recommendations.

    Raises:
        DataError: It is no table, or is empty.
    """
    state = accumulate(Source(data, chunk_rows=settings.chunk_rows), profile.encoder, settings)
    if profile.space is None:
        table = None
        dimensions: dict[str, DimensionScore] = {name: not_measurable(NO_GEOMETRY) for name in DIMENSIONS}
    else:
        table = profile.describe(state)
        dimensions = score_dimensions(profile.compare(state, table), settings)
    diversity = measure_diversity(profile, state, table, with_reference=True)
    collapse = collapse_score(dimensions)
    return Judgement(dimensions, collapse, diversity, decide(dimensions, collapse, diversity.overall_score, settings))
