"""Logistic regression by Newton's method: small, exact, the same on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_STEPS = 50
_CLIP = 30.0


def sigmoid(logits: Array) -> Array:
    """Return probabilities; safe for large arguments."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -_CLIP, _CLIP))), dtype=np.float64)


def logit(probabilities: Array, floor: float = 0.01) -> Array:
    """Return log-odds; 0 and 1 are moved to `floor` and `1 - floor`, since nothing is certain."""
    clipped = np.clip(probabilities, floor, 1 - floor)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)


def fit_logistic(inputs: Array, targets: Array, *, ridge: float = 1.0) -> Array:
    """Fit weights by penalised maximum likelihood (Newton steps; the intercept is not penalised).

    Args:
        inputs: [N, D].
        targets: [N], between 0 and 1; graded ones count as that share of a success.
        ridge: Weight of half the squared length of the weights.

    Returns:
        [D + 1]: the weights, then the intercept.
    """
    design = np.hstack([inputs, np.ones((len(inputs), 1))])  # (N, D+1)
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = 1e-6
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        fitted = sigmoid(design @ weights)
        gradient = design.T @ (fitted - targets) + penalty * weights
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        # Newton may overshoot on separable data: a step is never longer than 10.
        step *= min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-12))
        weights -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights


def apply_logistic(weights: Array, inputs: Array) -> Array:
    """Return probabilities [...] for inputs [..., D]."""
    return sigmoid(inputs @ weights[:-1] + weights[-1])
