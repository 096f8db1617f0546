"""The test of a release: right in expectation, honest under repeated looks, and able to see harm."""

import numpy as np
import pytest

from bench.canary_simulation import play
from orchestai.config import CanaryConfig, HarmConfig, StageConfig
from orchestai.registry.sequential import WEIGHTS, interval_half, weigh


def test_the_first_bet_is_the_one_that_is_derived_by_hand() -> None:
    # One instruction of the challenger, not accepted, share 0.5. Before it the centre is 0.5 and the variance of each
    # side 0.25: 0.25/0.5 + 0.25/0.5 = 1. psi = (1/0.5) (0 - 0.5) = -1. Each bettor stakes size * 0.05 / 1.
    found = weigh(np.array([0.0]), np.array([True]), np.array([0.5]), harm=0.05, worse=-1)

    expected = sum(weight * (1 + stake) for weight, stake in zip(WEIGHTS, (0.05, 0.1, 0.2, 0.375), strict=True))
    assert np.exp(found.log_capital[0]) == pytest.approx(expected)  # the largest stake is cut at 0.75 * 0.5
    assert found.difference[0] == pytest.approx(-1.0)
    assert found.information[0] == pytest.approx(1.0)


def test_an_accepted_answer_of_the_champion_counts_like_a_refused_one_of_the_challenger() -> None:
    refused = weigh(np.array([0.0]), np.array([True]), np.array([0.5]), harm=0.05, worse=-1)
    accepted = weigh(np.array([1.0]), np.array([False]), np.array([0.5]), harm=0.05, worse=-1)

    assert refused.log_capital[0] == pytest.approx(accepted.log_capital[0])


def test_the_difference_is_found_while_shares_and_success_drift() -> None:
    generator = np.random.default_rng(3)
    share = np.repeat([0.05, 0.25, 0.5], 20_000)
    level = np.repeat([0.9, 0.6, 0.75], 20_000)  # a mixture of stages would mistake this for a difference
    treated = generator.random(share.shape) < share
    outcome = (generator.random(share.shape) < level - 0.1 * treated).astype(float)

    found = weigh(outcome, treated, share, harm=0.05, worse=-1)

    assert found.difference[-1] == pytest.approx(-0.1, abs=0.02)
    assert abs(found.difference[-1] + 0.1) < interval_half(float(found.information[-1]), 0.05)
    mixed = outcome[treated].mean() - outcome[~treated].mean()
    assert abs(mixed + 0.1) > 0.02


def test_the_capital_of_a_bettor_on_nothing_does_not_grow() -> None:
    """A martingale keeps its mean: 1, here over 4,000 plays of 60 instructions at a rare, skewed outcome."""
    generator = np.random.default_rng(4)
    share = np.full((4000, 60), 0.25)
    treated = generator.random(share.shape) < share
    outcome = (generator.random(share.shape) < 0.95).astype(float)

    capital = np.exp(weigh(outcome, treated, share, harm=0.05, worse=-1).log_capital[:, -1])

    assert capital.mean() == pytest.approx(1.0, abs=4 * capital.std() / np.sqrt(4000))
    assert (capital >= 20).mean() <= 0.05


SHORT = CanaryConfig(
    stages=(StageConfig(share=0.25, units=200), StageConfig(share=0.5, units=400)),
    holdback_units=20,
    harms={"success": HarmConfig(size=0.1, alpha=0.015), "cost": HarmConfig(size=0.2, alpha=0.01)},
)


def test_releases_without_harm_are_left_alone_and_those_with_harm_are_not() -> None:
    null = play(SHORT, runs=150, seed=1, success=(0.8, 0.8), holdback=True)
    harm = play(SHORT, runs=100, seed=2, success=(0.8, 0.65), holdback=False)

    assert np.isfinite(null.alarm_units).mean() <= 0.05
    assert np.isfinite(harm.alarm_units).mean() >= 0.9
    assert np.median(harm.alarm_units) < 300


@pytest.mark.slow
def test_the_designed_error_holds_over_two_thousand_releases() -> None:
    from bench.canary_simulation import simulate

    found = simulate(runs=2000, seed=0)

    assert found["false_rollback_rate"] <= 0.05
    assert found["missed_harm_rate"] <= 0.10
