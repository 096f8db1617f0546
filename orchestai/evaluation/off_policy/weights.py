"""Importance weights, what they are worth, and where the log cannot speak for a policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.errors import InputError
from orchestai.evaluation.off_policy.rows import LoggedExecution, TargetPolicy

Array = npt.NDArray[np.float64]
Wishes = list[tuple[dict[str, float], ...]]
"""What a policy would do: a mapping a sub-task, for each execution."""

_SURE = 1 - 1e-9


class Support(NamedTuple):
    """How far a log speaks for a policy.

    Attributes:
        weights: [N] target probability over logging probability of the whole execution.
        ess: Effective sample size: the smaller one of Kish's and of what the propensities let expect.
        missing: [N] share of the target's probability that lies where the log has nothing.
        absent: Where most of it lies: task type and worker, the most first.
    """

    weights: Array
    ess: float
    missing: Array
    absent: tuple[tuple[str, str], ...]


def wishes_of(rows: Sequence[LoggedExecution], policy: TargetPolicy) -> Wishes:
    """Ask the policy about every execution.

    Raises:
        InputError: It gives something else than one distribution over workers a sub-task.
    """
    found = []
    for row in rows:
        given = tuple(dict(each) for each in policy(row))
        if len(given) != len(row.choices):
            raise InputError(
                f"The policy gives {len(given)} distributions for the {len(row.choices)} sub-tasks of {row.id}.",
                remedy="Give one a sub-task, in order.",
            )
        for each in given:
            total = sum(each.values())
            if not abs(total - 1) < 1e-6 or min(each.values(), default=0.0) < 0:
                raise InputError(
                    f"The policy's probabilities for {row.id} must be >= 0 and sum to 1, got a sum of {total:g}.",
                    remedy="Normalise them over the workers that may be chosen.",
                )
        found.append(given)
    return found


def unusable_propensities(rows: Sequence[LoggedExecution]) -> int:
    """Count the executions with a propensity that is missing or not in (0, 1]."""
    return sum(
        any(choice.propensity is None or not 0 < choice.propensity <= 1 for choice in row.choices) for row in rows
    )


def support(rows: Sequence[LoggedExecution], wishes: Wishes) -> Support:
    """Weigh the executions and say where the target goes but the log never went.

    A choice with the propensity 1 excludes every other worker there for certain, and of a worker that the log never
    took at all nothing is known. What else may be missing shows in the mean of the weights.

    Kish's sample size is too hopeful where the heavy weights happen not to have been drawn: with a floor of 2 % and a
    target that often disagrees, most of its value lies in a handful of executions. So the second moment of the weights
    is also taken in expectation over the target's choices; what the log did not choose has the rest of the
    probability, in equal parts.

    Args:
        rows: Executions with usable propensities.
        wishes: What the target would do.
    """
    seen = {choice.worker for row in rows for choice in row.choices}
    others = max(len(seen) - 1, 1)
    weights, missing, moments = np.ones(len(rows)), np.zeros(len(rows)), np.ones(len(rows))
    absent: Counter[tuple[str, str]] = Counter()
    for place, (row, given) in enumerate(zip(rows, wishes, strict=True)):
        kept = 1.0
        for choice, chances in zip(row.choices, given, strict=True):
            chance, propensity = chances.get(choice.worker, 0.0), choice.propensity or 0.0
            weights[place] *= chance / propensity
            rest = max(1 - propensity, 1e-9) / others
            moments[place] *= chance**2 / propensity + sum(
                value**2 / rest for worker, value in chances.items() if worker != choice.worker and worker in seen
            )
            reached = {choice.worker} if propensity >= _SURE else seen
            lost = {worker: value for worker, value in chances.items() if value > 0 and worker not in reached}
            kept *= 1 - sum(lost.values())
            for worker, value in lost.items():
                absent[choice.task_type, worker] += value  # type: ignore[assignment]  # a sum of probabilities
        missing[place] = 1 - kept
    expected = len(rows) / max(float(moments[missing < _SURE].mean()), 1e-12) if (missing < _SURE).any() else 0.0
    ess = min(effective_sample_size(weights), expected)
    return Support(weights, ess, missing, tuple(pair for pair, _ in absent.most_common(3)))


def effective_sample_size(weights: Array) -> float:
    """Return Kish's (sum w)^2 / sum w^2: how many executions of the target itself would tell as much."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
