"""Ranking, calibration and intervals, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestai.evaluation.routing import auc, expected_calibration_error, paired_interval, simultaneous_intervals


def test_auc_counts_pairs_and_halves_ties() -> None:
    # Pairs (win, loss): (.9, .1) right, (.9, .5) right, (.5, .1) right, (.5, .5) tied: 3.5 of 4.
    assert auc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.875)
    assert math.isnan(auc(np.array([0.4, 0.6]), np.ones(2)))


def test_calibration_error_is_the_mean_gap() -> None:
    # Two bins of equal weight: |.9 - .5| and |.1 - 0|.
    found = expected_calibration_error(np.array([0.9, 0.9, 0.1, 0.1]), np.array([1.0, 0.0, 0.0, 0.0]), bins=2)
    assert found == pytest.approx(0.25)


def test_paired_interval_holds_the_mean() -> None:
    found = paired_interval(np.array([1.0, -1.0, 1.0, 1.0] * 50))
    assert found.low < 0.5 < found.high
    assert found.mean == pytest.approx(0.5)


def test_simultaneous_intervals_are_wider_with_more_groups() -> None:
    group = np.array([1.0, -1.0] * 50)
    one = simultaneous_intervals([group])[0]
    many = simultaneous_intervals([group] * 16)[0]
    error = math.sqrt(100 / 99) / 10
    assert one.high == pytest.approx(1.959964 * error, rel=1e-5)
    assert many.high == pytest.approx(2.955167 * error, rel=1e-5)
    assert simultaneous_intervals([np.zeros(5)])[0] == (0.0, 0.0, 0.0)
