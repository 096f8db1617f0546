"""Is the challenger worse? A test that may be looked at after every instruction, and stays honest.

Each instruction is put on the challenger's side with a known probability p. With A = 1 on that side and a centre m
that is known before (the mean so far), psi = (A/p - (1-A)/(1-p)) (Y - m) has the mean difference between the sides as
its expectation, whatever else changes over time. A bettor who stakes `size / variance` of the capital on psi being
negative multiplies it by 1 - stake * psi; without harm that capital is a supermartingale, so that it ever reaches
1 / alpha with probability alpha at most (Ville). The capital is a mixture over several sizes of harm: the mixture SPRT
(Robbins 1970; Johari, Pekelis & Walsh, arXiv:1512.04922) with its likelihood ratio replaced by a bet (Waudby-Smith &
Ramdas, arXiv:2010.09686), which holds for any outcome between 0 and 1, not just for large samples.

The alphas of the metrics add up (Bonferroni). The intervals that are shown beside are asymptotic confidence sequences
(Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, arXiv:2103.06476); nothing is decided by them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SIZES = (1.0, 2.0, 4.0, 8.0)
"""Harms that are bet on, in terms of the one that must not be missed."""
WEIGHTS = (0.6, 0.2, 0.1, 0.1)
"""Shares of the capital that are bet on them."""

_MOST = 0.75
"""The most of the capital that one outcome may cost."""
_FLOOR = 0.04
"""Smallest variance that is believed: outcomes that were all equal so far need not stay so."""
_PRIOR = 20.0
"""Outcomes of both sides together that each side's variance is mixed with."""
_TUNED = 2000.0
"""Information at which the shown intervals are narrowest."""


class Evidence(NamedTuple):
    """What is known after each instruction; arrays are [..., T]."""

    log_capital: Floats  # of the bettor on harm
    difference: Floats  # challenger minus champion
    information: Floats  # inverse variance of the difference


def weigh(outcome: Floats, treated: Bools, share: Floats, *, harm: float, worse: int) -> Evidence:
    """Return the evidence for harm after each instruction.

    Args:
        outcome: [..., T] between 0 and 1, in order of time.
        treated: [..., T] whether the challenger had it.
        share: [..., T] probability with which it was put there.
        harm: Difference that must not be missed.
        worse: -1 where smaller outcomes are worse, 1 where larger ones are.
    """
    side = treated.astype(np.float64)
    total = _before(np.ones_like(outcome))  # instructions before this one
    centre = (_before(outcome) + 0.5) / (total + 1)
    squares = (outcome - centre) ** 2
    both = np.maximum((_before(squares) + 0.25) / (total + 1), _FLOOR)
    variance = _side(squares, side, both) / share + _side(squares, 1 - side, both) / (1 - share)
    psi = (side / share - (1 - side) / (1 - share)) * (outcome - centre)
    largest = _MOST * np.minimum(share, 1 - share)  # |psi| <= 1 / min(p, 1 - p)
    capitals = []
    for size, weight in zip(SIZES, WEIGHTS, strict=True):
        stake = np.minimum(size * harm / variance, largest)
        capitals.append(np.log(weight) + np.cumsum(np.log1p(worse * stake * psi), axis=-1))
    information = np.cumsum(1 / variance, axis=-1)
    return Evidence(
        log_capital=np.logaddexp.reduce(np.stack(capitals), axis=0),
        difference=np.cumsum(psi / variance, axis=-1) / information,
        information=information,
    )


def interval_half(information: float, alpha: float) -> float:
    """Return half the width of the confidence sequence at this information (arXiv:2103.06476, eq. 3)."""
    tuned = _TUNED
    return float(np.sqrt((information + tuned) / information**2 * np.log((information + tuned) / (tuned * alpha**2))))


def _before(values: Floats) -> Floats:
    """Return the sum of what came before each place: what may be known when it is bet."""
    summed: Floats = np.cumsum(values, axis=-1) - values
    return summed


def _side(squares: Floats, side: Floats, both: Floats) -> Floats:
    mixed: Floats = (_before(squares * side) + _PRIOR * both) / (_before(side) + _PRIOR)
    return np.maximum(mixed, _FLOOR)
