from __future__ import annotations

import itertools
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from orchestai.validation.accumulate import accumulate
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.scoring import judge
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source
from orchestai.validation.states.hashes import HashCounts
from orchestai.validation.states.table import TableState


def same(left: TableState, right: TableState) -> bool:
    pairs = [
        (left.counts, right.counts),
        (left.bad_cells, right.bad_cells),
        (left.exact.hashes, right.exact.hashes),
        (left.exact.counts, right.exact.counts),
        (left.coarse.hashes, right.coarse.hashes),
        (left.sample.index, right.sample.index),
        (left.sample.rows.features, right.sample.rows.features),  # type: ignore[union-attr]
        (left.sample.rows.codes, right.sample.rows.codes),  # type: ignore[union-attr]
    ]
    return left.rows == right.rows and all(np.array_equal(a, b) for a, b in pairs)


@limits(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 899), max_size=8), seed=st.integers(0, 1000))
def test_any_chunking_and_any_order_of_merging_give_the_same_state(
    profile: ReferenceProfile, fresh: pd.DataFrame, cuts: set[int], seed: int
) -> None:
    settings = GateSettings(sample_rows=200, exact_hashes=1_000)
    table = pa.Table.from_pandas(fresh.head(900), preserve_index=False)
    batch = table.combine_chunks().to_batches()[0]
    edges = [0, *sorted(cuts), 900]
    parts = [TableState.of(profile.encoder, batch.slice(a, b - a), a, settings) for a, b in itertools.pairwise(edges)]
    shuffle = random.Random(seed)
    while len(parts) > 1:
        shuffle.shuffle(parts)
        parts.append(parts.pop().merge(parts.pop()))
    assert same(parts[0], TableState.of(profile.encoder, batch, 0, settings))


@pytest.mark.parametrize("chunk", [97, 500])
def test_scores_do_not_depend_on_the_chunks(
    profile: ReferenceProfile, fresh: pd.DataFrame, settings: GateSettings, chunk: int
) -> None:
    whole = judge(profile, fresh, settings)
    cut = judge(profile, fresh, settings.model_copy(update={"chunk_rows": chunk}))
    assert cut.collapse == whole.collapse
    assert {n: d.score for n, d in cut.dimensions.items()} == {n: d.score for n, d in whole.dimensions.items()}
    assert cut.diversity.overall_score == whole.diversity.overall_score


def test_memory_is_bounded_and_the_repeated_share_is_still_right() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1 << 60, 20_000).astype(np.uint64)
    doubled = np.concatenate([values, values[:5_000]])
    parts = [HashCounts.of(part, 2_000) for part in np.array_split(rng.permutation(doubled), 7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert len(merged.hashes) == 2_000
    assert not merged.complete
    assert merged.total == 25_000
    assert merged.repeated_share() == pytest.approx(5_000 / 25_000, abs=0.02)
    assert set(merged.counts.tolist()) <= {1, 2}


def test_the_sample_is_uniform_over_the_rows(profile: ReferenceProfile, fresh: pd.DataFrame) -> None:
    state = accumulate(Source(fresh, chunk_rows=100), profile.encoder, GateSettings(sample_rows=300))
    assert len(set(state.sample.index.tolist())) == 300
    assert abs(state.sample.index.mean() - 749.5) < 3 * 433 / 300**0.5
