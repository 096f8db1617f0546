from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from orchestai.validation.calibrate import calibrated, combined, score_of
from orchestai.validation.collapse.mode_collapse import lost_mass
from orchestai.validation.collapse.quality_degradation import label_error_rate
from orchestai.validation.collapse.spectral_degradation import FLOOR, effective_rank, lost_eigenvalues
from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.rarefaction import expected_repetition
from orchestai.validation.scoring import Judgement, judge
from orchestai.validation.settings import GateSettings


def scores(found: Judgement) -> dict[str, float]:
    return {name: each.score for name, each in found.dimensions.items() if each.score is not None}


def test_healthy_rows_of_the_same_origin_are_approved(
    profile: ReferenceProfile, fresh: pd.DataFrame, settings: GateSettings
) -> None:
    found = judge(profile, fresh, settings)
    assert found.decision.verdict != "rejected"
    assert len(scores(found)) == 8
    assert found.collapse is not None
    assert found.collapse > 95
    assert found.diversity.overall_score is not None
    assert found.diversity.overall_score > 90


def one_mode(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["kind"] == "north"]


def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: rng.permutation(rows[name].to_numpy()) for name in rows})


def flat(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(b=rows["a"], c=rows["a"])


def moved(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(c=rows["c"] + 3 * rows["c"].std())


def repeated(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[np.arange(len(rows)) % (len(rows) // 4)]


def flipped(rows: pd.DataFrame) -> pd.DataFrame:
    half = np.arange(len(rows)) % 2 == 0
    other = rows["label"].map({"yes": "no", "no": "yes"})
    return rows.assign(label=rows["label"].where(half, other))


@pytest.mark.parametrize(
    ("spoil", "dimension"),
    [
        (one_mode, "mode_collapse"),
        (one_mode, "diversity_loss"),
        (flat, "spectral_degradation"),
        (shuffled, "gradient_pathology"),
        (shuffled, "distribution_shift"),
        (moved, "distribution_shift"),
        (flipped, "quality_degradation"),
        (repeated, "pattern_repetition"),
    ],
)
def test_each_destruction_is_rejected_by_its_dimension(
    profile: ReferenceProfile, fresh: pd.DataFrame, settings: GateSettings, spoil: object, dimension: str
) -> None:
    found = judge(profile, spoil(fresh), settings)  # type: ignore[operator]
    assert found.decision.verdict == "rejected"
    assert scores(found)[dimension] < 50


def test_copies_of_the_reference_are_memorised_and_repeated(
    profile: ReferenceProfile, settings: GateSettings, draw_reference: pd.DataFrame
) -> None:
    found = scores(judge(profile, draw_reference.head(1_500), settings))
    assert found["memorization"] < 5
    assert found["pattern_repetition"] < 5


def test_copies_may_be_allowed(profile: ReferenceProfile, settings: GateSettings, draw_reference: pd.DataFrame) -> None:
    other = profile.settings
    profile.settings = other.model_copy(update={"count_copies": False})
    try:
        assert scores(judge(profile, draw_reference.head(1_500), settings))["pattern_repetition"] > 95
    finally:
        profile.settings = other


def test_without_a_holdout_memorisation_is_not_measurable(
    settings: GateSettings, fresh: pd.DataFrame, draw_reference: pd.DataFrame
) -> None:
    from orchestai.validation.source import Source

    alone = ReferenceProfile.fit(Source(draw_reference.head(1_000)), settings, label="label")
    found = judge(alone, fresh, settings).dimensions["memorization"]
    assert found.score is None
    assert found.status == "not_measurable"
    assert "holdout" in found.reason


def test_more_damage_never_scores_better(
    profile: ReferenceProfile, fresh: pd.DataFrame, settings: GateSettings
) -> None:
    values = []
    for level in (0.1, 0.3, 0.6, 0.9):
        rows = np.arange(len(fresh))
        spoiled = rows < level * len(rows)
        rows[spoiled] = len(fresh) - 1 - rows[spoiled] % max(1, int((1 - level) * len(rows)))
        values.append(judge(profile, fresh.iloc[rows], settings).collapse)
    assert values == sorted(values, key=lambda value: -(value or 0.0))


def test_score_and_effect_by_hand() -> None:
    reading = calibrated("t", 0.6, np.linspace(0, 0.2, 101), 1.0)
    assert reading is not None
    assert reading.q95 == pytest.approx(0.19)
    assert reading.effect == pytest.approx((0.6 - 0.19) / 0.81)
    assert score_of(0.5) == 25.0
    assert combined([100.0, 40.0]) == 55.0
    assert combined([]) is None


def test_a_statistic_whose_noise_reaches_half_of_its_range_is_not_measured() -> None:
    assert calibrated("t", 0.9, np.full(100, 0.6), 1.0) is None


def test_lost_mass_by_hand() -> None:
    # One of two cells is halved: .5 (1 - .25 / .5)^2 = .125; the other gained, which is no loss.
    assert lost_mass(np.array([0.25, 0.75]), np.array([0.5, 0.5])) == pytest.approx(0.125)


def test_lost_eigenvalues_by_hand() -> None:
    reference = np.diag([4.0, 1.0])
    assert lost_eigenvalues(np.diag([1.0, 1.0]), reference) == pytest.approx(1 - 0.5, abs=1e-4)
    assert lost_eigenvalues(np.diag([16.0, 1.0]), reference) == pytest.approx(1 - 0.5, abs=1e-4)
    assert lost_eigenvalues(np.diag([4.0, 0.0]), reference) == pytest.approx(1 - FLOOR**0.5, abs=1e-4)
    assert effective_rank(np.eye(3)) == pytest.approx(3.0)


def test_expected_repetition_by_hand() -> None:
    # Two rows drawn from {x, x, y} without replacement are equal in 1 of 3 cases: half a row repeated each.
    assert expected_repetition(np.array([2, 1]), 2) == pytest.approx(1 / 6)
    assert expected_repetition(np.ones(50, int), 50) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_the_share_of_wrong_labels_is_found(rate: float) -> None:
    right = np.array([0.95, 0.8, 0.6])
    share = np.full(3, 1 / 3)
    own = np.concatenate([right, 1 - right])
    # A label is the model's with its probability; a wrong one is then turned over.
    weights = np.concatenate([share * right, share * (1 - right)])
    turned = np.concatenate([share * (1 - right), share * right])
    found = label_error_rate(own, ((1 - rate) * weights + rate * turned)[None])
    assert found[0] == pytest.approx(rate, abs=0.02)
