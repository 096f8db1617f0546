"""Healthy draws tell how much a healthy table differs from its reference, on few rows too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from orchestai.validation.calibrate import BEYOND, dimension, unseen
from orchestai.validation.gate import GateSettings, ReferenceProfile, Source, judge
from orchestai.validation.result import Reading
from orchestai.validation.summary import draw_weights

SETTINGS = GateSettings(null_draws=100)


def population(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    hidden = rng.standard_normal((rows, 3))
    numbers = hidden @ np.random.default_rng(1).standard_normal((3, 8)) + 0.3 * rng.standard_normal((rows, 8))
    numbers[rng.random(rows) < 0.01] *= 20  # a few rows lie far out
    frame = pd.DataFrame(numbers, columns=[f"n{k}" for k in range(8)])
    frame["level"] = np.where(hidden[:, 0] > 0.5, "high", np.where(hidden[:, 1] > 0, "mid", "low"))
    return frame


@pytest.mark.parametrize(("known", "rows", "tables"), [(100, 50, 6), (1000, 500, 2)])
def test_healthy_tables_hardly_ever_warn(known: int, rows: int, tables: int) -> None:
    verdicts, scores = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        profile = ReferenceProfile.fit(
            Source(population(rng, known)), SETTINGS, holdout=Source(population(rng, known // 2))
        )
        for _ in range(tables):
            found = judge(profile, population(rng, rows), SETTINGS)
            verdicts.append(found.decision.verdict)
            scores.append(found.collapse)
    assert "rejected" not in verdicts
    assert verdicts.count("warn") <= 0.15 * len(verdicts)
    assert np.mean(np.array(scores, float)) > 97


def test_draws_vary_by_both_samples() -> None:
    values = np.arange(400) / 400
    weights = draw_weights(np.random.default_rng(0), 400, 100, 3000)
    assert (weights.sum(1) == 100).all()
    means = weights @ values / 100
    # One part of the variance is that of 100 rows, the other that of the 400 that the origin is known by.
    expected = values.var() * (1 / 100 + 1 / 400)
    assert means.var() == pytest.approx(expected, rel=0.1)


def test_that_nothing_was_seen_rules_out_only_so_much() -> None:
    rng = np.random.default_rng(0)
    few = unseen(rng, 4000, 100, 100)
    assert np.quantile(few, 0.95) >= 0.01  # one such row of 100 is no news
    assert few.mean() == pytest.approx(0.005, rel=0.15)  # Jeffreys: half an event in 100 rows
    assert np.quantile(unseen(rng, 4000, 100, 100_000), 0.95) == 0


def test_what_one_healthy_table_in_twenty_shows_does_not_warn() -> None:
    def status(value: float) -> str:
        reading = Reading(name="x", value=value, q95=0.2, worst=1.0, effect=(value - 0.2) / 0.8, noise=0.1)
        return dimension([reading], warn=95, critical=40, nothing="").status

    beyond = 0.2 + BEYOND * 0.1
    assert (status(beyond - 0.001), status(beyond + 0.001)) == ("ok", "warn")
    assert status(0.9) == "critical"
