"""Kernel ridge regression from the instruction's embedding to a plan: the strongest simple planner."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.contracts import MAX_SUBTASKS, PlanExample, PlanPrediction
from orchestai.evaluation import metrics
from orchestai.evaluation.baselines import Floats, PlattScale, PooledEncoder, embed, require
from orchestai.evaluation.order import OrderModel

_GAMMAS = (0.5, 1.0, 2.0, 4.0)
_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
_POWERS = (0.7, 1.0, 1.5, 2.0, 3.0)


class KernelRidgePlanner:
    """Predicts how often each task type occurs, then puts the types in order.

    One ridge regression with a Gaussian kernel on pooled embeddings predicts for every (type, k) whether the
    type occurs at least k times. The set that is expected to have the highest F1 is taken; its order and
    edges come from the transitions and structures of the training plans.

    Args:
        train: Plans to learn from.
        validation: Chooses kernel width, penalty and sharpness, and calibrates; the test split is never seen.
        encoder: Embeds the instructions.
    """

    def __init__(self, train: Sequence[PlanExample], validation: Sequence[PlanExample], encoder: PooledEncoder) -> None:
        require(train, "train")
        require(validation, "validation")
        self._encoder = encoder
        self._slots = _slots(train)
        self._order = OrderModel(train)
        self._embeddings = embed(encoder, [example.instruction for example in train])  # (N, H)
        targets = _targets(train, self._slots)  # (N, K)
        self._mean = targets.mean(axis=0)
        wanted = [example.task_types for example in validation]
        seen = embed(encoder, [example.instruction for example in validation])
        best = -1.0
        for gamma in _GAMMAS:
            kernel = _kernel(self._embeddings, self._embeddings, gamma)
            values, vectors = np.linalg.eigh(kernel)  # one decomposition serves every penalty
            projected = vectors.T @ (targets - self._mean)
            cross = _kernel(seen, self._embeddings, gamma) @ vectors  # (V, N)
            for penalty in _PENALTIES:
                dual = projected / (np.maximum(values, 0.0) + penalty)[:, None]  # (N, K)
                raw = cross @ dual + self._mean
                for power in _POWERS:
                    sets = [self._choose(row)[0] for row in _probabilities(raw, power)]
                    score = float(np.mean([metrics.multiset_f1(a, b) for a, b in zip(sets, wanted, strict=True)]))
                    if score > best:
                        best = score
                        self.gamma, self.penalty, self.power = gamma, penalty, power
                        self._dual = vectors @ dual
        self._scale = PlattScale(1.0, 0.0)
        plans, scores = self._plan([example.instruction for example in validation])
        self._scale = PlattScale.fit(scores, metrics.exact_scores(validation, plans))

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        """Return one plan an instruction."""
        plans, scores = self._plan(instructions)
        return [
            plan.model_copy(update={"confidence": confidence})
            for plan, confidence in zip(plans, self._scale(scores), strict=True)
        ]

    def _plan(self, instructions: Sequence[str]) -> tuple[list[PlanPrediction], Floats]:
        if not instructions:
            return [], np.zeros(0)
        kernel = _kernel(embed(self._encoder, instructions), self._embeddings, self.gamma)  # (B, N)
        plans, scores = [], []
        for row in _probabilities(kernel @ self._dual + self._mean, self.power):
            types, score = self._choose(row)
            ordered, dependencies, order_score = self._order.arrange(types)
            plans.append(PlanPrediction(task_types=ordered, dependencies=dependencies))
            scores.append(score + order_score)
        return plans, np.array(scores)

    def _choose(self, probabilities: Floats) -> tuple[list[str], float]:
        """Take the set with the highest expected F1, and say how likely it is exactly right (log)."""
        order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[order]
        sizes = np.arange(1, min(MAX_SUBTASKS, len(ranked)) + 1)
        # E[F1] of the k likeliest, by the ratio of expectations: 2 E[hits] / (k + E[size of the gold set]).
        expected = 2 * np.cumsum(ranked)[: len(sizes)] / (sizes + probabilities.sum())
        size = int(expected.argmax()) + 1
        chosen = [self._slots[i] for i in order[:size]]
        near = np.clip(np.concatenate([ranked[:size], 1 - ranked[size:]]), 1e-3, 1.0)
        return [name for name, _ in sorted(chosen, key=lambda slot: slot[1])], float(np.log(near).sum())


def _slots(train: Sequence[PlanExample]) -> list[tuple[str, int]]:
    """All (type, k) such that some training plan has the type at least k times."""
    most: dict[str, int] = {}
    for example in train:
        for name in example.task_types:
            most[name] = max(most.get(name, 0), example.task_types.count(name))
    return [(name, k) for name, count in most.items() for k in range(1, count + 1)]


def _targets(train: Sequence[PlanExample], slots: Sequence[tuple[str, int]]) -> Floats:
    place = {slot: column for column, slot in enumerate(slots)}
    targets = np.zeros((len(train), len(slots)))
    for row, example in enumerate(train):
        for name, group in itertools.groupby(sorted(example.task_types)):
            for k in range(1, len(list(group)) + 1):
                targets[row, place[name, k]] = 1.0
    return targets


def _kernel(a: Floats, b: Floats, gamma: float) -> npt.NDArray[np.float64]:
    """Gaussian kernel of unit vectors: |a - b|^2 = 2 - 2 a.b."""
    return np.exp(-gamma * np.maximum(2.0 - 2.0 * (a @ b.T), 0.0))


def _probabilities(raw: Floats, power: float) -> Floats:
    return np.clip(raw, 0.0, 1.0) ** power
