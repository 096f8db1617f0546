"""From probabilities and prices to a choice: expected utility, and the best single worker when in doubt."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.contracts.base import Record

Array = npt.NDArray[np.float64]


class PricePoint(Record):
    """What one weight of the price came to, out of fold.

    Attributes:
        price_weight: The weight.
        success: Mean success.
        usd: Mean dollars a sub-task: what was paid where that was measured, else what was expected.
        usd_error: Standard error of that mean; 0 where it is not known.
    """

    price_weight: float
    success: float
    usd: float
    usd_error: float = 0.0


class RoutingPolicy(Record):
    """What was chosen on training and validation data, never on test data.

    Attributes:
        best_single: The worker that did best over all, which is taken when in doubt.
        unknown_loss: What a wrong switch away from it costs, in success, where the kind of task is unknown.
        margin: Least expected gain in success that is worth a switch, where the price does not count.
        reference_usd: What the best single worker costs a sub-task; prices are counted in this unit.
        thrifty_weight: Weight of the price at which the best single worker's success is still reached.
        curve: Success and price by weight, for whoever has a price in mind.
        trusted: Whether switching for success alone showed a gain at all; otherwise it is not done.
    """

    best_single: str
    unknown_loss: float
    margin: float
    reference_usd: float
    thrifty_weight: float
    curve: tuple[PricePoint, ...] = ()
    trusted: bool = True

    def weight_for(self, usd: float) -> float:
        """Return the weight of the most success at no more than `usd` a sub-task, of those that were tried.

        The mean of other sub-tasks is another one, so a standard error is kept free. Where even the cheapest cost
        more, the heaviest weight.
        """
        allowed = [point for point in self.curve if point.usd + point.usd_error <= usd]
        if not allowed:
            return max((point.price_weight for point in self.curve), default=self.thrifty_weight)
        return max(allowed, key=lambda point: (point.success, -point.usd)).price_weight

    def weight_within(self, success: float) -> float:
        """Return the weight of the least price at no less than this mean success out of fold; 0 where none has it."""
        allowed = [point for point in self.curve if point.success >= success]
        return min(allowed, key=lambda point: point.usd).price_weight if allowed else 0.0


class Choices(NamedTuple):
    """Chosen columns.

    Attributes:
        chosen: [N] places of workers.
        abstained: [N] whether the best single worker was taken for want of knowledge.
    """

    chosen: npt.NDArray[np.int64]
    abstained: npt.NDArray[np.bool_]


def choose(
    success: Array,
    known: Array,
    costs: Array,
    policy: RoutingPolicy,
    *,
    base: int | npt.NDArray[np.int64],
    price_weight: float = 0.0,
) -> Choices:
    """Take the worker of greatest utility where the expected gain outweighs the risk.

    Utility is success less `price_weight` times the price, in units of what the best single worker costs. The
    gain over the best single worker counts as far as the kind of task is known; as far as it is not, a switch
    is taken to lose `unknown_loss`.

    Args:
        success: [N, W], as if the kind of task were known.
        known: [N].
        costs: [N, W] expected dollars; infinite for a worker that may not be used.
        policy: What was chosen on validation data.
        base: Column of the best single worker, or one a row.
        price_weight: What a price is worth in success.
    """
    rows = np.arange(len(success))
    usable = np.isfinite(costs)
    prices = np.where(usable, costs, 0.0) / max(policy.reference_usd, 1e-12)
    utility = np.where(usable, success - price_weight * prices, -np.inf)  # (N, W)
    # Where the best single worker may not be used there is nothing to fall back to.
    absent = ~usable[rows, base]
    best = utility.argmax(1)
    anchor = np.where(absent, 0.0, utility[rows, base])
    gain = utility[rows, best] - anchor
    # A switch for the price's sake saves little by little: its weight was tuned without a margin.
    margin = policy.margin if price_weight == 0 else 0.0
    worth = known * gain - (1 - known) * policy.unknown_loss > margin
    switch = absent | ((best != base) & worth & (policy.trusted or price_weight > 0))
    return Choices(chosen=np.where(switch, best, base).astype(np.int64), abstained=np.asarray((best != base) & ~switch))
