"""The score of a worker's behaviour: what an autoencoder cannot rebuild, and the plain deviation; numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.routing.anomaly.behaviour import Expectations, measure_of

Array = npt.NDArray[np.float64]

METHODS = ("autoencoder", "deviation", "combined")


class Layer(NamedTuple):
    """One linear layer; the hidden ones end in tanh."""

    weights: Array
    bias: Array


@dataclass(frozen=True)
class Detector:
    """Scores feature vectors.

    Attributes:
        mean: [F] of the features while all is well.
        scale: [F] their deviations.
        layers: The autoencoder.
        limits: Scores of autoencoder and deviation at which each alone would alarm as often as stated.
        method: Which of `METHODS` the score is.
        threshold: Score above which there is an alarm.
    """

    mean: Array
    scale: Array
    layers: tuple[Layer, ...]
    limits: tuple[float, float] = (1.0, 1.0)
    method: str = "combined"
    threshold: float = 1.0

    def score(self, features: Array) -> Array:
        """Return [...] scores of [..., F] features."""
        scaled = (features - self.mean) / self.scale
        if self.method == "deviation":
            return _length(scaled) / self.limits[1]
        left = _length(scaled - self.rebuild(scaled)) / self.limits[0]
        return left if self.method == "autoencoder" else np.maximum(left, _length(scaled) / self.limits[1])

    def rebuild(self, scaled: Array) -> Array:
        """Return [..., F] what the autoencoder makes of standardised features."""
        value = scaled
        for layer in self.layers[:-1]:
            value = np.tanh(value @ layer.weights + layer.bias)
        return np.asarray(value @ self.layers[-1].weights + self.layers[-1].bias, dtype=np.float64)

    def blame(self, features: Array) -> str:
        """Name the measure that deviates most."""
        return measure_of(int(np.abs((features - self.mean) / self.scale).argmax()))


def _length(values: Array) -> Array:
    """Return [...] root mean squares of [..., F]."""
    return np.asarray(np.sqrt((values * values).sum(-1) / values.shape[-1]), dtype=np.float64)


@dataclass(frozen=True)
class AnomalyModel:
    """What is normal, and how far from it is too far.

    Attributes:
        expectations: Of each worker.
        detector: Scores the summary of what a worker did.
        metrics: Measured on validation calls.
    """

    expectations: Expectations
    detector: Detector
    metrics: dict[str, float] = field(default_factory=dict)
