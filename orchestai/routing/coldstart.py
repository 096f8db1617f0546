"""A worker that joins after training: it is expected to be like those that it resembles, until it is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from orchestai.errors import InputError
from orchestai.routing.logistic import logit, sigmoid
from orchestai.routing.model import RouterModel

Array = npt.NDArray[np.float64]

_SHARPNESS = 5.0
_PRIOR_STRENGTH = 20.0
_STEPS = 25


class Newcomer:
    """What is expected of a new worker, as a mixture of what is expected of the known ones.

    Its log-odds of success are a weighted sum of those of the known workers, plus a level. Without observations
    the weights follow from the likeness of the descriptions; observations move weights and level (a Gaussian
    prior at the description's weights, Newton steps).

    Args:
        model: The trained router.
        description: [H] unit embedding of what the worker says of itself.
    """

    def __init__(self, model: RouterModel, description: Array) -> None:
        likeness = model.descriptions @ description
        shares = np.exp(_SHARPNESS * (likeness - likeness.max()))
        self._start = np.append(shares / shares.sum(), 0.0)  # (W + 1,): weights, then the level
        self._likeness = float(np.clip(likeness.max(), 0.0, 1.0))
        self._weights = self._start
        self.observations = 0

    @property
    def weights(self) -> Array:
        """Weights of the known workers, and the level: [W + 1]."""
        return self._weights

    @property
    def trust(self) -> float:
        """How far what is expected of it may be relied on: its likeness to a known worker, or its own record."""
        seen = self.observations / (self.observations + _PRIOR_STRENGTH)
        return self._likeness + (1 - self._likeness) * seen

    def observe(self, success: Array, scores: Array) -> None:
        """Learn from what the newcomer did.

        Args:
            success: [N, W] what the router expects of the known workers on the same sub-tasks.
            scores: [N] what the newcomer reached, 0 to 1.

        Raises:
            InputError: The shapes do not fit.
        """
        if success.shape != (len(scores), len(self._start) - 1):
            raise InputError(f"Expected {len(scores)} rows of {len(self._start) - 1} workers, got {success.shape}.")
        design = np.hstack([logit(success), np.ones((len(scores), 1))])
        # The level may move far, the weights hardly: the level is one number, the weights are as many as workers.
        penalty = np.full(design.shape[1], _PRIOR_STRENGTH)
        penalty[-1] = 1.0
        weights = self._start.copy()
        for _ in range(_STEPS):
            fitted = sigmoid(design @ weights)
            gradient = design.T @ (fitted - scores) + penalty * (weights - self._start)
            curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + np.diag(penalty)
            step = np.linalg.solve(curvature, gradient)
            weights = weights - step
            if float(np.abs(step).max()) < 1e-8:
                break
        self._weights = weights
        self.observations = len(scores)

    def success(self, known: Array) -> Array:
        """Return [N] what to expect of it where the known workers are expected to reach [N, W]."""
        return sigmoid(logit(known) @ self._weights[:-1] + self._weights[-1])


def without(model: RouterModel, worker: str) -> RouterModel:
    """Return the router for a catalog that lost a worker: its column stays, it is just never trusted.

    Raises:
        InputError: It is the only one.
    """
    others = [place for place, name in enumerate(model.workers) if name != worker]
    if not others:
        raise InputError(f"{worker!r} is the only worker of the router.", remedy="Route by rule.")
    if model.policy.best_single != worker:
        return model
    heir = max(others, key=lambda place: float(model.mean_scores[place]))
    return replace(model, policy=model.policy.model_copy(update={"best_single": model.workers[heir]}))
