"""Who should do one sub-task: the learned router where it knows, the best single worker or the rule where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import estimate, tokens_of
from orchestai.contracts import TaskType, WorkerProfile
from orchestai.errors import InputError
from orchestai.routing.coldstart import Newcomer
from orchestai.routing.features import lexical_matrix
from orchestai.routing.model import Prediction, RouterModel
from orchestai.routing.policy import choose

Array = npt.NDArray[np.float64]


class RoutingDecision(NamedTuple):
    """A worker for one sub-task, and why.

    Attributes:
        worker: The chosen one.
        ranked: All candidates, the likeliest to succeed first; for retries.
        success: Calibrated probability that the chosen one succeeds; None where a rule chose.
        confidence: Probability that the kind of task is known; 0 where a rule chose.
        expected_usd: Price of the call.
        abstained: The router would have preferred another, but is not sure enough.
        reason: In words.
    """

    worker: str
    ranked: tuple[str, ...]
    success: float | None
    confidence: float
    expected_usd: float
    abstained: bool
    reason: str


class Router:
    """Chooses a worker for a sub-task.

    Workers may come, go and change their price between two calls: prices and candidates are those of the call.

    Args:
        model: The learned router; without it the rule decides.
        newcomers: Workers that joined after the training, by name.
    """

    def __init__(self, model: RouterModel | None = None, newcomers: Mapping[str, Newcomer] | None = None) -> None:
        self.model = model
        self.newcomers = dict(newcomers or {})

    def route(
        self,
        text: str,
        task_type: TaskType,
        candidates: Sequence[WorkerProfile],
        *,
        embedding: Array | None = None,
        price_weight: float = 0.0,
    ) -> RoutingDecision:
        """Choose one of `candidates`.

        Args:
            text: What the worker will read.
            task_type: The kind of sub-task.
            candidates: Workers that may do it.
            embedding: [H] unit vector of the text; without it the rule decides.
            price_weight: What a price of the best single worker is worth in success; 0 ignores prices.

        Raises:
            InputError: There is no candidate, or the embedding is not finite or of another size.
        """
        if not candidates:
            raise InputError("There is no candidate to route to.", remedy="Add a worker, or wait until one is back.")
        model = self.model
        familiar = [
            each for each in candidates if model and (each.name in model.workers or each.name in self.newcomers)
        ]
        if model is None or embedding is None or not familiar:
            return _by_rule(text, task_type, candidates)
        if embedding.shape != (model.bank.shape[1],) or not np.isfinite(embedding).all():
            raise InputError(
                f"The embedding must be {model.bank.shape[1]} finite numbers, got the shape {embedding.shape}.",
                remedy="Use the encoder that the router was trained with.",
            )
        found = model.predict(np.asarray(embedding, dtype=np.float64)[None, :], lexical_matrix([text]))
        return self._decide(model, found, text, task_type, familiar, price_weight)

    def _decide(
        self,
        model: RouterModel,
        found: Prediction,
        text: str,
        task_type: TaskType,
        familiar: Sequence[WorkerProfile],
        price_weight: float,
    ) -> RoutingDecision:
        if_known = np.array([self._expect(model, found.success_if_known, each.name) for each in familiar])
        calibrated = np.array([self._expect(model, found.success, each.name) for each in familiar])
        costs = np.array([_price(model, found, each, text, task_type) for each in familiar])
        base = _anchor(model, familiar, calibrated)
        choices = choose(
            if_known[None, :], found.known, costs[None, :], model.policy, base=base, price_weight=price_weight
        )
        place, abstained = int(choices.chosen[0]), bool(choices.abstained[0])
        known = float(found.known[0])
        if abstained:
            reason = f"the best single worker: the gain is not sure enough (kind of task known with {known:.0%})"
        elif place == base:
            reason = "the best single worker, and likely the best here"
        else:
            reason = (
                f"expected to succeed with {calibrated[place]:.0%}, {familiar[base].name} with {calibrated[base]:.0%}"
            )
        order = sorted(range(len(familiar)), key=lambda each: (-calibrated[each], costs[each]))
        return RoutingDecision(
            worker=familiar[place].name,
            ranked=tuple(familiar[each].name for each in order),
            success=float(calibrated[place]),
            confidence=known,
            expected_usd=float(costs[place]),
            abstained=abstained,
            reason=reason,
        )

    def _expect(self, model: RouterModel, success: Array, name: str) -> float:
        if name in model.workers:
            return float(success[0, model.workers.index(name)])
        return float(self.newcomers[name].success(success)[0])


def _anchor(model: RouterModel, familiar: Sequence[WorkerProfile], calibrated: Array) -> int:
    """Place of the best single worker; where it is away, of the one with the best record, or else the likeliest."""
    names = [each.name for each in familiar]
    if model.policy.best_single in names:
        return names.index(model.policy.best_single)
    recorded = [place for place, name in enumerate(names) if name in model.workers]
    if recorded:
        return max(recorded, key=lambda place: float(model.mean_scores[model.workers.index(names[place])]))
    return int(calibrated.argmax())


def _price(model: RouterModel, found: Prediction, profile: WorkerProfile, text: str, task_type: TaskType) -> float:
    tokens = float("nan")
    if profile.name in model.workers:
        tokens = float(found.output_tokens[0, model.workers.index(profile.name)])
    if np.isnan(tokens):
        return estimate(profile, task_type, len(text)).cost_usd
    return profile.cost_usd(tokens_of(len(text)), round(tokens))


def _by_rule(text: str, task_type: TaskType, candidates: Sequence[WorkerProfile]) -> RoutingDecision:
    estimates = {each.name: estimate(each, task_type, len(text)) for each in candidates}
    order = sorted(candidates, key=lambda each: (estimates[each.name].cost_usd, estimates[each.name].latency_ms))
    return RoutingDecision(
        worker=order[0].name,
        ranked=tuple(each.name for each in order),
        success=None,
        confidence=0.0,
        expected_usd=estimates[order[0].name].cost_usd,
        abstained=False,
        reason=f"the cheapest of {len(candidates)} candidates, by rule",
    )
