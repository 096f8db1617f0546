"""The learned router: who will succeed at a sub-task, and whether that can be known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.routing.attention import AttentionNetwork
from orchestai.routing.families import FamilyModel
from orchestai.routing.gate import Gate
from orchestai.routing.logistic import apply_logistic, logit, sigmoid
from orchestai.routing.policy import RoutingPolicy
from orchestai.routing.retrieval import recall
from orchestai.routing.timing import TimePredictor

Array = npt.NDArray[np.float64]

SOURCES = ("families", "attention", "retrieval")
"""The members of the ensemble, in the order of the stack's weights."""

_PRIOR_LOG_ODDS = math.log(19.0)


class Prediction(NamedTuple):
    """What the router expects.

    Attributes:
        success: [N, W] calibrated probability of an accepted answer; a strange task draws it to the worker's mean.
        success_if_known: [N, W] the same without that, for `policy.choose`, which weighs the strangeness itself.
        known: [N] probability that the kind of task is a known one.
        output_tokens: [N, W] expected length of the answer; NaN where no length was ever measured.
        sources: [3, N, W] what each member of the ensemble says.
        posterior: [N, K] soft family.
    """

    success: Array
    success_if_known: Array
    known: Array
    output_tokens: Array
    sources: Array
    posterior: Array


@dataclass(frozen=True)
class RouterModel:
    """An ensemble of family means, attention networks and retrieval, stacked and calibrated.

    Attributes:
        workers: Names, in the order of all columns W.
        descriptions: [W, H] embeddings of what the workers say of themselves.
        families: The kinds of task.
        family_scores: [K, W] mean success, shrunk to the worker's own mean.
        family_tokens: [K, W] mean output tokens; NaN where unmeasured.
        mean_scores: [W] over all tasks.
        bank: [N, H] embeddings of the past.
        bank_scores: [N, W]; NaN where not tried.
        networks: Members trained on different folds.
        stack: [4] weights of the sources' log-odds, and the intercept.
        gate: Knows what is known.
        policy: What was chosen on validation data.
        metrics: What was measured out of fold.
        times: How long calls take; None where no time was ever measured.
        calibration: Expected success, observed success and outcomes by bin, out of fold.
    """

    workers: tuple[str, ...]
    descriptions: Array
    families: FamilyModel
    family_scores: Array
    family_tokens: Array
    mean_scores: Array
    bank: npt.NDArray[np.float32]
    bank_scores: Array
    networks: tuple[AttentionNetwork, ...]
    stack: Array
    gate: Gate
    policy: RoutingPolicy
    metrics: dict[str, float]
    times: TimePredictor | None = None
    calibration: tuple[tuple[float, float, int], ...] = ()

    def predict(self, embeddings: Array, lexical: Array) -> Prediction:
        """Predict for [N, H] unit embeddings and [N, L] lexical vectors."""
        reading = self.families.read(embeddings, lexical)
        by_family = reading.posterior @ self.family_scores
        if self.networks:
            by_network = np.mean([network.success(reading.inputs) for network in self.networks], axis=0)
        else:
            by_network = by_family
        by_past = recall(embeddings, self.bank, self.bank_scores, self.mean_scores)
        sources = np.stack([by_family, by_network, by_past])
        known = self.gate.known(reading)
        stacked = apply_stack(self.stack, sources)
        return Prediction(
            success=blend(stacked, known, self.mean_scores),
            success_if_known=stacked,
            known=known,
            output_tokens=reading.posterior @ self.family_tokens,
            sources=sources,
            posterior=reading.posterior,
        )

    @property
    def base(self) -> int:
        """Column of the best single worker."""
        return self.workers.index(self.policy.best_single)


def apply_stack(stack: Array, sources: Array) -> Array:
    """Combine what the sources say: [3, N, W] -> [N, W]."""
    return apply_logistic(stack, np.moveaxis(logit(sources), 0, -1))


def blend(success: Array, known: Array, mean_scores: Array) -> Array:
    """Of an unknown kind of task, only what a worker is worth over all is believed.

    The gate is fitted as if every second task were of an unknown kind, which is right for the risk of a switch;
    for a probability one in twenty is assumed.
    """
    believed = sigmoid(logit(known, 1e-6) + _PRIOR_LOG_ODDS)[:, None]
    return np.asarray(believed * success + (1 - believed) * mean_scores, dtype=np.float64)
