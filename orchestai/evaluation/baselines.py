"""Simple planners that a learned one must beat: copying the nearest plan, ridge regression, and chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestai.contracts import PlanExample, PlanPrediction
from orchestai.errors import DataError
from orchestai.evaluation import metrics

Floats = npt.NDArray[np.float64]


class PooledEncoder(Protocol):
    """What the baselines need of an encoder."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return [B, H], L2-normalised."""


class ChancePlanner:
    """Always the most frequent plan of the training data: what ignoring the question is worth."""

    def __init__(self, train: Sequence[PlanExample]) -> None:
        require(train, "train")
        counts = Counter((example.task_types, example.dependencies) for example in train)
        (types, dependencies), count = counts.most_common(1)[0]
        self._plan = PlanPrediction(task_types=types, dependencies=dependencies, confidence=count / len(train))

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        """Return the same plan for every instruction."""
        return [self._plan] * len(instructions)


class NearestPlan:
    """Copies the plan of the most similar training instruction (cosine of pooled embeddings).

    Args:
        train: Plans to copy from.
        validation: Decides how far the similarity can be trusted; nothing else is fitted.
        encoder: Embeds the instructions.
    """

    def __init__(self, train: Sequence[PlanExample], validation: Sequence[PlanExample], encoder: PooledEncoder) -> None:
        require(train, "train")
        self._plans = list(train)
        self._encoder = encoder
        self._embeddings = embed(encoder, [example.instruction for example in train])  # (N, H)
        plans, scores = self._nearest([example.instruction for example in validation])
        self._scale = PlattScale.fit(scores, metrics.exact_scores(validation, plans))

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        """Return the plan of the nearest training instruction for each."""
        plans, scores = self._nearest(instructions)
        return [
            plan.model_copy(update={"confidence": confidence})
            for plan, confidence in zip(plans, self._scale(scores), strict=True)
        ]

    def _nearest(self, instructions: Sequence[str]) -> tuple[list[PlanPrediction], Floats]:
        if not instructions:
            return [], np.zeros(0)
        similarity = embed(self._encoder, instructions) @ self._embeddings.T  # (B, N)
        nearest = similarity.argmax(axis=1)
        plans = [
            PlanPrediction(task_types=self._plans[i].task_types, dependencies=self._plans[i].dependencies)
            for i in nearest
        ]
        return plans, similarity.max(axis=1)


class PlattScale:
    """A logistic curve from a raw score to the probability that the plan is right (Platt, 1999).

    Targets are smoothed as in the paper, so that a perfect validation set does not promise certainty.
    """

    def __init__(self, slope: float, offset: float) -> None:
        self.slope = slope
        self.offset = offset

    @classmethod
    def fit(cls, scores: Floats, correct: Floats) -> PlattScale:
        """Fit by Newton's method on the validation data; without any, the curve says one half."""
        if not len(scores):
            return cls(0.0, 0.0)
        positives = float(correct.sum())
        high, low = (positives + 1) / (positives + 2), 1 / (len(correct) - positives + 2)
        target = np.where(correct > 0.5, high, low)
        rows = np.stack([scores, np.ones_like(scores)], axis=1)  # (N, 2)
        weights = np.array([0.0, np.log((positives + 1) / (len(correct) - positives + 1))])
        for _ in range(50):
            chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
            gradient = rows.T @ (chance - target) + 1e-3 * weights
            curvature = (rows * (chance * (1 - chance))[:, None]).T @ rows + 1e-3 * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            weights -= np.clip(step, -5, 5)
            if np.abs(step).max() < 1e-8:
                break
        return cls(float(weights[0]), float(weights[1]))

    def __call__(self, scores: Floats) -> list[float]:
        """Return one probability a score."""
        values = 1 / (1 + np.exp(-np.clip(self.slope * scores + self.offset, -30, 30)))
        return [float(value) for value in values]


def embed(encoder: PooledEncoder, texts: Sequence[str], batch: int = 64) -> Floats:
    """Return [N, H] pooled embeddings, computed in batches."""
    parts = [encoder.encode(list(texts[at : at + batch])) for at in range(0, len(texts), batch)]
    return np.concatenate(parts).astype(np.float64)


def require(examples: Sequence[PlanExample], name: str) -> None:
    """Refuse an empty split.

    Raises:
        DataError: There is no example.
    """
    if not examples:
        raise DataError(f"The {name} split has no example.", remedy="Give more data or another split.")
