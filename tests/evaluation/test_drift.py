"""Drift: large and not by chance; the success rate may be looked at any number of times."""

import math

import numpy as np
import pytest

from orchestai.errors import InputError
from orchestai.evaluation.drift import (
    DriftLimits,
    category_psi,
    compare_features,
    kolmogorov_smirnov,
    number_psi,
)
from orchestai.evaluation.drift_outcomes import calibration_drift, success_drift


def test_psi_of_categories_by_hand() -> None:
    # Shares with half a row added: 10.5/21, 10.5/21 against 15.5/21, 5.5/21.
    p, q = 10.5 / 21, (15.5 / 21, 5.5 / 21)
    wanted = sum((b - p) * math.log(b / p) for b in q)

    assert category_psi(["a"] * 10 + ["b"] * 10, ["a"] * 15 + ["b"] * 5) == pytest.approx(wanted)
    assert category_psi(["a", "b"] * 10, ["b", "a"] * 10) == pytest.approx(0)


def test_psi_of_numbers_by_hand() -> None:
    # Two bins, cut at the median 5: 1..5 and 6..10. After: all in the upper one.
    reference, current = list(range(1, 11)), [9.0] * 10
    p, q = (5.5 / 11, 5.5 / 11), (0.5 / 11, 10.5 / 11)
    wanted = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))

    assert number_psi(reference, current, bins=2) == pytest.approx(wanted)
    assert number_psi([3.0] * 50, [3.0] * 20) == pytest.approx(0)
    assert number_psi([3.0] * 50, [4.0] * 50) > 1, "a constant that moved is seen"


def test_distance_of_two_samples_by_hand() -> None:
    distance, p = kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6])

    assert distance == pytest.approx(0.5)
    assert 0 < p <= 1
    with pytest.raises(InputError, match="rows"):
        kolmogorov_smirnov([], [1.0])


def test_a_shift_is_named_and_equal_features_are_not() -> None:
    rng = np.random.default_rng(1)
    reference = {"chars": rng.normal(0, 1, 800).tolist(), "type": rng.choice(["a", "b"], 800).tolist()}
    same = {"chars": rng.normal(0, 1, 600).tolist(), "type": rng.choice(["a", "b"], 600).tolist()}
    moved = {"chars": (rng.normal(0, 1, 600) + 1).tolist(), "type": ["c"] * 600}

    assert [each.drifted for each in compare_features(reference, same)] == [False, False]
    assert [(each.feature, each.drifted) for each in compare_features(reference, moved)] == [
        ("chars", True),
        ("type", True),
    ]


def test_a_small_difference_is_no_drift_however_sure_and_a_large_one_by_chance_neither() -> None:
    rng = np.random.default_rng(2)
    small = compare_features({"x": rng.normal(0, 1, 50_000).tolist()}, {"x": rng.normal(0.08, 1, 50_000).tolist()})[0]
    few = compare_features({"x": [1.0, 2, 3, 4, 5, 6]}, {"x": [4.0, 5, 6, 7, 8, 9]}, DriftLimits(alpha=0.01))[0]

    assert small.p < 1e-6
    assert not small.drifted
    assert few.ks is not None
    assert few.ks >= 0.5
    assert not few.drifted


def test_the_false_alarms_of_the_success_test_keep_to_alpha_although_it_is_looked_at_after_every_pair() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(success_drift(rng.random(400) < 0.8, rng.random(400) < 0.8, alpha=0.05).drifted for _ in range(400))

    assert alarms / 400 <= 0.05


def test_a_fall_of_the_success_rate_is_found_soon() -> None:
    rng = np.random.default_rng(4)
    found = [success_drift(rng.random(2000) < 0.8, rng.random(2000) < 0.6, alpha=0.01) for _ in range(50)]

    assert all(each.drifted for each in found)
    assert np.median([each.drifted_at or 0 for each in found]) < 400


def test_the_evidence_of_a_first_pair_by_hand() -> None:
    # Before the first pair both rates are 1/2, so it says nothing; the second is bet on with 2/3 and 1/3.
    found = success_drift([True, True], [False, False], alpha=0.01)

    assert found.e_value == pytest.approx((2 / 3) / (1 / 2) * (2 / 3) / (1 / 2))
    assert (found.before, found.after, found.pairs) == (1.0, 0.0, 2)
    with pytest.raises(InputError, match="alpha"):
        success_drift([True], [True], alpha=1.0)


def test_calibration_drifts_when_equal_confidence_is_worth_less() -> None:
    rng = np.random.default_rng(5)

    def rows(n: int, worth: float) -> list[tuple[float, bool]]:
        confidences = rng.uniform(0.3, 1, n)
        return [(float(c), bool(rng.random() < c * worth)) for c in confidences]

    same = calibration_drift(rows(1000, 0.9), rows(800, 0.9))
    worse = calibration_drift(rows(1000, 0.9), rows(800, 0.5))
    # Other confidences with the same meaning are drift of a feature, not of the calibration.
    surer = calibration_drift(rows(1000, 0.9), [row for row in rows(3000, 0.9) if row[0] > 0.8])

    assert not same.drifted
    assert worse.drifted
    assert worse.change > 0.2
    assert not surer.drifted


def test_calibration_of_one_confidence_by_hand() -> None:
    found = calibration_drift([(0.5, True), (0.5, False)] * 50, [(0.5, False)] * 100)

    # 50 of 100 against 0 of 100: z^2 = .5^2 / (.25 * .75 * (1/100 + 1/100)) = 66.7
    assert found.change == pytest.approx(0.5)
    assert found.p == pytest.approx(math.erfc(math.sqrt(66.6667 / 2)), rel=1e-3)
    assert found.drifted
