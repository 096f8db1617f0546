"""Simple ways to put edges between given steps, for comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orchestai.contracts import StepPlan
from orchestai.embeddings.protocol import TextEncoder
from orchestai.planner.structure_decoding import decode_structure, reduced
from orchestai.planner.structure_features import step_features
from orchestai.planner.structure_prior import Edges, GraphPrior, PriorWeights

Floats = npt.NDArray[np.float64]

_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 16))
_ROUNDS = 400
_GRAPHS_ONLY = PriorWeights(evidence=1.0, graph=1.0, edges=0.0, isolated=0.0)


class EdgePredictor(Protocol):
    """Anything that puts edges between steps."""

    def edges(self, goal: str, steps: Sequence[str]) -> Edges:
        """Return pairs (parent, child) of positions in `steps`."""


class Chain:
    """One step after the other, as they are written down."""

    def edges(self, goal: str, steps: Sequence[str]) -> Edges:
        """Each step waits for the one before it."""
        return tuple((i, i + 1) for i in range(len(steps) - 1))


class FrequentShape:
    """The graph that agrees best with those of the training plans with as many steps; reads no text.

    Args:
        plans: Training plans.
    """

    def __init__(self, plans: Sequence[StepPlan]) -> None:
        self._shapes: dict[int, Counter[Edges]] = {}
        for plan in plans:
            size = len(plan.steps)
            self._shapes.setdefault(size, Counter())[reduced(size, plan.edges)] += 1

    def edges(self, goal: str, steps: Sequence[str]) -> Edges:
        """Minimum Bayes risk over the known shapes; a chain where none is known."""
        size = len(steps)
        shapes = self._shapes.get(size)
        if not shapes:
            return Chain().edges(goal, steps)
        probs = np.zeros((size, size))
        for edges, count in shapes.items():
            for parent, child in edges:
                probs[parent, child] += count / shapes.total()
        return decode_structure(probs, GraphPrior({size: shapes}, _GRAPHS_ONLY))


class Pairwise:
    """Logistic regression over each pair's features; forward edges above a threshold.

    Args:
        train: Plans to fit on.
        validation: Plans to choose the threshold on.
        encoder: Embeds the steps, for the similarities among the features.
    """

    def __init__(self, train: Sequence[StepPlan], validation: Sequence[StepPlan], encoder: TextEncoder) -> None:
        self._encoder = encoder
        rows, targets = [], []
        for plan in train:
            size = len(plan.steps)
            forward = np.triu(np.ones((size, size), dtype=np.bool_), 1)
            gold = np.zeros((size, size))
            for parent, child in plan.edges:
                gold[parent, child] = 1
            rows.append(self._features(plan.goal, plan.steps)[forward])
            targets.append(gold[forward])
        x, y = np.concatenate(rows), np.concatenate(targets)
        self._mean, self._scale = x.mean(axis=0), x.std(axis=0).clip(1e-3)
        self._weights = _fit_logistic((x - self._mean) / self._scale, y)
        probs = [self._probs(plan.goal, plan.steps) for plan in validation]
        self.threshold = max(
            _THRESHOLDS,
            key=lambda t: sum(_f1(_above(p, t), plan.edges) for p, plan in zip(probs, validation, strict=True)),
        )

    def edges(self, goal: str, steps: Sequence[str]) -> Edges:
        """Forward pairs above the threshold, without those that a longer path implies."""
        return _above(self._probs(goal, steps), self.threshold)

    def _features(self, goal: str, steps: Sequence[str]) -> Floats:
        embeddings = self._encoder.encode([goal, *steps])
        return step_features(goal, steps, embeddings[0], embeddings[1:]).pairs.astype(np.float64)

    def _probs(self, goal: str, steps: Sequence[str]) -> Floats:
        scaled = (self._features(goal, steps) - self._mean) / self._scale  # (n, n, features)
        logits = scaled @ self._weights[:-1] + self._weights[-1]
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float64)


def _above(probs: Floats, threshold: float) -> Edges:
    size = len(probs)
    return reduced(size, [(p, c) for p in range(size) for c in range(p + 1, size) if probs[p, c] > threshold])


def _f1(edges: Edges, gold: Edges) -> float:
    return 2 * len(set(edges) & set(gold)) / max(1, len(edges) + len(gold))


def _fit_logistic(x: Floats, y: Floats, ridge: float = 1.0) -> Floats:
    """Weights with the bias last; L-BFGS on the penalised log-loss."""
    from scipy.optimize import minimize

    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = wide @ weights
        value = np.logaddexp(0, logits).sum() - y @ logits + 0.5 * ridge * weights[:-1] @ weights[:-1]
        slope = wide.T @ (1 / (1 + np.exp(-np.clip(logits, -30, 30))) - y)
        slope[:-1] += ridge * weights[:-1]
        return float(value), slope

    found: Any = minimize(loss, np.zeros(wide.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS})
    return np.asarray(found.x, dtype=np.float64)
