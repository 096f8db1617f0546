"""Texts: near repetition by MinHash, meaning by embeddings; both in any chunks, and said where they are off."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from orchestai.validation import DatasetValidator, GateSettings
from orchestai.validation.columns import Column, Raw, fit_column, read_column
from orchestai.validation.meaning import effective_texts, measure_meaning, sampled_texts
from orchestai.validation.neartext import HASHES, find_near, sketch
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.scoring import judge
from orchestai.validation.source import Source
from orchestai.validation.states.sample import RowSample
from orchestai.validation.states.table import TableState

SETTINGS = GateSettings(sample_rows=400, null_draws=40, bootstrap_draws=10, cascade_rows=400, embedding_rows=0)
WORDS = np.array([f"word{number}" for number in range(400)])


def texts(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 12)) for _ in range(rows)]


def table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({"text": texts(rows, seed), "x": rng.standard_normal(rows), "y": rng.integers(0, 4, rows)})


def nearly_repeated(rows: int, seed: int, copies: int) -> pa.Table:
    """Replace the last rows' texts by those of the first ones, one word changed, so that no row repeats exactly."""
    found = texts(rows, seed)
    for place in range(copies):
        found[rows - copies + place] = f"{found[place].rsplit(' ', 1)[0]} changed{place}"
    base = table(rows, seed)
    return base.set_column(0, "text", pa.array(found))


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    return ReferenceProfile.fit(Source(table(600, 1)), SETTINGS)


def near(values: list[str | None]) -> list[int]:
    sample: RowSample[Any] = RowSample.empty(10_000, 0)
    made = sample.add(np.arange(len(values)), sketch([pa.array(values, pa.string())]))
    found = find_near(made)
    return [] if found is None else found.index[found.later].tolist()


def test_sketches_agree_as_often_as_texts_share_word_pairs() -> None:
    left = " ".join(f"w{number}" for number in range(400))
    right = " ".join(f"w{number}" for number in range(200, 600))
    places = sketch([pa.array([left, right, left])]).places
    assert (places[0] == places[2]).all()
    # 199 of 599 pairs are common: a third, give or take three deviations of a share of 32
    assert abs((places[0] == places[1]).mean() - 199 / 599) < 3 * (0.33 * 0.67 / HASHES) ** 0.5


def test_the_later_of_near_texts_is_named_and_different_texts_are_not() -> None:
    base = texts(50, 7)
    changed = base[3] + " and more"
    assert near([*base, changed, base[4].upper(), "short one", "short one", None, ""]) == [50, 51]
    assert near([None, "", "a b"]) == []


def test_near_repetition_lowers_the_score_and_names_the_rows(profile: ReferenceProfile) -> None:
    healthy = judge(profile, table(500, 2), SETTINGS).dimensions["pattern_repetition"]
    assert healthy.score is not None
    assert healthy.score > 97
    spoiled = nearly_repeated(500, 2, 150)
    result = DatasetValidator(settings=SETTINGS, use_cache=False).validate_sync(spoiled, reference=profile)
    found = result.dimensions["pattern_repetition"]
    assert found.score is not None
    assert found.score < 65
    assert "nearly repeated texts" in found.reason
    assert result.localization is not None
    assert result.localization.counts["near_repeated"] >= 130
    named = {
        row
        for row, reasons in zip(result.problematic_rows, result.localization.reasons, strict=True)
        if "near_repeated" in reasons
    }
    assert named <= set(range(350, 500))
    fix = next(each for each in result.recommendations if each.action == "drop_near_repeated")
    assert fix.measured
    assert fix.estimated_impact > 5


def test_templates_are_natural_and_name_no_rows() -> None:
    same = [f"Please send the monthly report number {n} to the office in Paris today" for n in range(300)]
    result = DatasetValidator(settings=SETTINGS, use_cache=False).validate_sync(pa.table({"t": same, "x": range(300)}))
    assert result.localization is not None
    assert "near_repeated" not in result.localization.counts
    assert any("nearly repeat" in note for note in result.warnings)


@limits(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 299), max_size=6), seed=st.integers(0, 1000))
def test_any_chunking_and_any_order_give_the_same_near_texts(
    profile: ReferenceProfile, cuts: set[int], seed: int
) -> None:
    settings = SETTINGS.model_copy(update={"near_text_rows": 200})
    batch = nearly_repeated(300, 3, 60).combine_chunks().to_batches()[0]
    edges = [0, *sorted(cuts), 300]
    parts = [TableState.of(profile.encoder, batch.slice(a, b - a), a, settings) for a, b in itertools.pairwise(edges)]
    shuffle = random.Random(seed)
    while len(parts) > 1:
        shuffle.shuffle(parts)
        parts.append(parts.pop().merge(parts.pop()))
    whole = find_near(TableState.of(profile.encoder, batch, 0, settings).texts)
    found = find_near(parts[0].texts)
    assert whole is not None
    assert found is not None
    assert len(found.index) == 200
    assert np.array_equal(found.index, whole.index)
    assert np.array_equal(found.later, whole.later)


def test_effective_texts_by_hand() -> None:
    assert effective_texts(np.eye(4)) == pytest.approx(4)
    assert effective_texts(np.ones((4, 3))) == pytest.approx(1)
    assert effective_texts(np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])) == pytest.approx(2)


def test_meaning_falls_when_all_say_the_same_and_time_is_kept() -> None:
    settings = GateSettings(embedding_rows=24)
    things = ["the cat sleeps", "stocks fell", "rain in Spain", "a new bridge opens", "she won the race", "bake bread"]
    many = tuple(f"{thing} {number}" for number, thing in enumerate(things * 2))
    same = tuple(f"the cat sleeps on sofa {number}" for number in range(12))
    found = measure_meaning(same, many, settings)
    assert found.table is not None
    assert found.reference is not None
    assert found.table < 0.6 * found.reference
    off = measure_meaning(same, many, settings.model_copy(update={"embedding_seconds": 0.0}))
    assert off.table is None
    assert "0 s are allowed" in off.note


def test_texts_are_sampled_alike_and_can_be_switched_off(profile: ReferenceProfile) -> None:
    columns = profile.encoder.columns
    ten = GateSettings(embedding_rows=10)
    assert sampled_texts(table(50, 1), columns, ten) == sampled_texts(table(50, 1), columns, ten)
    assert len(sampled_texts(table(50, 1), columns, ten)) == 10
    assert sampled_texts(table(50, 1), columns, SETTINGS) == ()


def test_a_number_that_the_reference_does_not_repeat_is_any_number() -> None:
    def column_of(words: list[str]) -> tuple[Column, Raw]:
        raw = read_column(pa.array([f"please look at {word} once more" for word in words]))
        return fit_column("text", raw), raw

    column, raw = column_of([f"T-{number}" for number in range(60)])
    assert column.kind == "text"
    projected = column.features(raw, column.codes(raw))
    assert np.array_equal(projected[:1].repeat(60, axis=0), projected)
    assert len(set(raw.hashes().tolist())) == 60, "to copies and repetition they are different texts"

    codes, raw = column_of([f"part{number % 20} of {number}" for number in range(60)])
    assert len(np.unique(codes.features(raw, codes.codes(raw)), axis=0)) == 20

    alone = read_column(pa.array([f"A{number}" for number in range(60)]))
    single = fit_column("code", alone, allow_id=False)
    assert len(np.unique(single.features(alone, single.codes(alone)), axis=0)) == 60
