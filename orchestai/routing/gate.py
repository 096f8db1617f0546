"""Is this text of a kind that was learned? The abstention of the router rests on the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestai.routing.families import FamilyReading, conformal
from orchestai.routing.logistic import apply_logistic, fit_logistic

Array = npt.NDArray[np.float64]

_RIDGE = 3.0


@dataclass(frozen=True)
class Gate:
    """Probability that a text is of a known kind, from how strange it is among the family it is taken for.

    Attributes:
        quantiles: [K, DISTANCES, Q] of true members, out of fold.
        mean: [F] of the gate's inputs.
        scale: [F].
        weights: [2 F + 1] logistic weights of the inputs and their squares, and the intercept.
    """

    quantiles: Array
    mean: Array
    scale: Array
    weights: Array

    def known(self, reading: FamilyReading) -> Array:
        """Return [N] probabilities."""
        return judge(self, signs(reading, self.quantiles))


def signs(reading: FamilyReading, quantiles: Array) -> Array:
    """Return [N, 1 + DISTANCES]: doubt between families and the logs of the conformal p-values."""
    doubt = np.log(np.clip(1 - reading.posterior.max(1), 1e-4, 1.0))
    rare = np.log(conformal(quantiles, reading.distances, reading.nearest))
    return np.hstack([doubt[:, None], rare])


def fit_gate(quantiles: Array, known: Array, unknown: Array) -> Gate:
    """Fit the gate.

    Args:
        quantiles: Kept for use.
        known: [N, F] signs of texts of known kinds, by models that had not seen the texts.
        unknown: [M, F] signs of texts of which the models had not seen the kind.
    """
    mean, scale = known.mean(0), np.maximum(known.std(0), 1e-6)
    raw = (np.vstack([known, unknown]) - mean) / scale
    targets = np.concatenate([np.ones(len(known)), np.zeros(len(unknown))])
    weights = fit_logistic(np.hstack([raw, raw**2]), targets, ridge=_RIDGE)
    return Gate(quantiles=quantiles, mean=mean, scale=scale, weights=weights)


def judge(gate: Gate, raw: Array) -> Array:
    """Return [N] probabilities for signs that are computed already."""
    scaled = (raw - gate.mean) / gate.scale
    return apply_logistic(gate.weights, np.hstack([scaled, scaled**2]))
