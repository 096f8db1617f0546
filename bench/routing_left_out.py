"""The router on kinds of task that nobody told it of: each family in turn is left out of the training."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestai.config.training import RouterConfig
from orchestai.evaluation.routing import auc, simultaneous_intervals
from orchestai.routing.policy import choose
from orchestai.training.router import RouterData, train_router


def left_out(data: RouterData, config: RouterConfig) -> dict[str, Any]:
    """Train without each family and route it.

    Everything is chosen without the family, the best single worker too.

    Returns:
        `families`: by name the gain over the best single worker in points, with intervals that hold for all
        families together, the share that was switched, and the AUC there. `below`: families whose interval
        lies below zero. `gain`: the mean over families.
    """
    labels = np.array(data.table.families)
    gains, facts = [], []
    names = data.table.family_names
    for name in names:
        held = labels == name
        model = train_router(data.take(~held), config)
        part = data.take(held)
        found = model.predict(part.embeddings, part.lexical)
        scores = part.table.scores
        free = np.where(np.isnan(scores), np.inf, part.expected_usd)
        chosen = choose(found.success_if_known, found.known, free, model.policy, base=model.base).chosen
        rows = np.arange(len(scores))
        gains.append(100 * (scores[rows, chosen] - scores[:, model.base]))
        tried = ~np.isnan(scores)
        facts.append(
            {
                "n": len(scores),
                "best_single": model.policy.best_single,
                "switched": float((chosen != model.base).mean()),
                "known": float(found.known.mean()),
                "auc": auc(found.success[tried], scores[tried]),
            }
        )
    intervals = simultaneous_intervals(gains)
    families = {
        name: {**fact, "gain": interval._asdict()} for name, fact, interval in zip(names, facts, intervals, strict=True)
    }
    return {
        "families": families,
        "below": [name for name, interval in zip(names, intervals, strict=True) if interval.high < 0],
        "gain": float(np.mean([interval.mean for interval in intervals])),
    }
