"""What may be chosen for a plan, what limits it, and what a choice is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.errors import InputError

Array = npt.NDArray[np.float64]

Goal = Literal["success", "cost", "latency"]


class PlanOptions(NamedTuple):
    """What each worker would bring to each sub-task of one plan.

    Attributes:
        success: [S, W] probability of an accepted answer.
        cost_usd: [S, W] dollars; infinite where a worker may not do the sub-task.
        latency_ms: [S, W] milliseconds.
        dependencies: Parents of each sub-task; parents come before children.
    """

    success: Array
    cost_usd: Array
    latency_ms: Array
    dependencies: tuple[tuple[int, ...], ...]


class PlanLimits(NamedTuple):
    """What a plan must keep to; None does not limit.

    Attributes:
        budget_usd: Most dollars for the whole plan.
        min_success: Least probability that all sub-tasks succeed.
        max_latency_ms: Most time along the critical path.
    """

    budget_usd: float | None = None
    min_success: float | None = None
    max_latency_ms: float | None = None


class PlanAssignment(NamedTuple):
    """A worker for each sub-task.

    Attributes:
        workers: [S] columns.
        success: Probability that all sub-tasks succeed, taken as independent.
        cost_usd: Of all together.
        latency_ms: Along the critical path.
        gap: Share by which a better one may be better, at most, where that was not ruled out.
    """

    workers: tuple[int, ...]
    success: float
    cost_usd: float
    latency_ms: float
    gap: float = 0.0


def value_of(options: PlanOptions, workers: Sequence[int]) -> PlanAssignment:
    """Price one assignment."""
    rows = np.arange(len(workers))
    columns = np.asarray(workers, dtype=np.int64)
    ends = np.zeros(len(rows))
    for node, parents in enumerate(options.dependencies):
        start = max((ends[parent] for parent in parents), default=0.0)
        ends[node] = start + options.latency_ms[node, columns[node]]
    return PlanAssignment(
        workers=tuple(int(column) for column in columns),
        success=float(np.prod(options.success[rows, columns])),
        cost_usd=float(options.cost_usd[rows, columns].sum()),
        latency_ms=float(ends.max(initial=0.0)),
    )


def check_options(options: PlanOptions) -> None:
    """Refuse what cannot be a plan.

    Raises:
        InputError: The shapes do not fit, a number is out of range, or a sub-task has no worker.
    """
    shape = options.success.shape
    if len(shape) != 2 or not shape[0] or not shape[1]:
        raise InputError(f"`success` must be sub-tasks by workers, got the shape {shape}.")
    if options.cost_usd.shape != shape or options.latency_ms.shape != shape or len(options.dependencies) != shape[0]:
        raise InputError(f"`cost_usd`, `latency_ms` and `dependencies` must fit `success`, which is {shape}.")
    if any(not 0 <= parent < node for node, parents in enumerate(options.dependencies) for parent in parents):
        raise InputError("Parents must come before children in `dependencies`.")
    if not ((options.success >= 0) & (options.success <= 1)).all():
        raise InputError("`success` must be between 0 and 1.")
    if not (options.cost_usd >= 0).all() or not (np.isfinite(options.latency_ms) & (options.latency_ms >= 0)).all():
        raise InputError("`cost_usd` and `latency_ms` must be >= 0, and `latency_ms` finite.")
    alone = np.flatnonzero(~np.isfinite(options.cost_usd).any(1))
    if len(alone):
        raise InputError(
            f"No worker may do sub-task {int(alone[0])}.", remedy="Add a worker, or wait until one is back."
        )
