"""Who should do one sub-task: the learned router where it knows, the best single worker or the rule where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import estimate
from orchestai.contracts import TaskType, WorkerProfile
from orchestai.errors import InputError
from orchestai.routing.coldstart import Newcomer
from orchestai.routing.forecast import NOBODY, Asked, Forecast, forecast
from orchestai.routing.model import RouterModel
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
    """Chooses workers for sub-tasks.

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
        """Choose one of `candidates` for one sub-task.

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
        if self.model is None or embedding is None:
            return _by_rule(text, task_type, candidates)
        asked = Asked(text, task_type, len(text))
        able = np.ones((1, len(candidates)), dtype=np.bool_)
        found = forecast(self.model, self.newcomers, [asked], embedding[None, :], candidates, able)
        return decide(self.model, found, [asked], candidates, price_weight=price_weight)[0] or _by_rule(
            text, task_type, candidates
        )


def decide(
    model: RouterModel,
    found: Forecast,
    asked: Sequence[Asked],
    workers: Sequence[WorkerProfile],
    *,
    price_weight: float,
) -> list[RoutingDecision | None]:
    """Choose a worker for each sub-task; None where no candidate has a record, so that a rule must choose."""
    recorded = found.base != NOBODY
    base = np.where(recorded, found.base, 0)
    costs = np.where(recorded[:, None], found.cost_usd, 0.0)
    choices = choose(found.success_if_known, found.known, costs, model.policy, base=base, price_weight=price_weight)
    decisions: list[RoutingDecision | None] = []
    for row in range(len(asked)):
        if not recorded[row]:
            decisions.append(None)
            continue
        place, anchor, abstained = int(choices.chosen[row]), int(base[row]), bool(choices.abstained[row])
        success, known = found.success[row], float(found.known[row])
        if abstained:
            reason = f"the best single worker: the gain is not sure enough (kind of task known with {known:.0%})"
        elif place == anchor:
            reason = f"the best single worker, and likely the best here: expected to succeed with {success[place]:.0%}"
        else:
            reason = f"expected to succeed with {success[place]:.0%}, {workers[anchor].name} with {success[anchor]:.0%}"
        decisions.append(
            RoutingDecision(
                worker=workers[place].name,
                ranked=tuple(workers[each].name for each in ranking(found, row)),
                success=float(success[place]),
                confidence=known,
                expected_usd=float(found.cost_usd[row, place]),
                abstained=abstained,
                reason=reason,
            )
        )
    return decisions


def ranking(found: Forecast, row: int) -> list[int]:
    """Columns of the candidates of a sub-task, the likeliest to succeed first, of equals the cheaper."""
    usable = np.flatnonzero(np.isfinite(found.cost_usd[row]))
    return sorted(usable.tolist(), key=lambda each: (-found.success[row, each], found.cost_usd[row, each]))


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
