"""Logged executions as off-policy estimates read them: what was chosen, how likely, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestai.logs import ExecutionLogRecord


class LoggedChoice(NamedTuple):
    """The worker of one sub-task.

    Attributes:
        task_type: Kind of the sub-task.
        worker: Who was planned; whoever stood in for it later is part of the outcome, not of the choice.
        propensity: Probability with which the policy chose it; None where nobody noted it.
        description: What the sub-task asks.
    """

    task_type: str
    worker: str
    propensity: float | None
    description: str = ""


class LoggedExecution(NamedTuple):
    """One execution.

    Attributes:
        id: Its identity.
        choices: One a sub-task.
        reward: What came of it.
        group: Executions of one group are drawn together by the bootstrap.
        text: What was asked.
        features: Numbers known before the choice, which help the reward model; all rows have as many.
        simulated: Whether a simulated worker took part.
    """

    id: str
    choices: tuple[LoggedChoice, ...]
    reward: float
    group: str
    text: str = ""
    features: tuple[float, ...] = ()
    simulated: bool = False


TargetPolicy = Callable[[LoggedExecution], Sequence[Mapping[str, float]]]
"""Gives the probability of each worker, a mapping a sub-task; it reads nothing of the outcome."""


class LoggedRows(NamedTuple):
    """What a log holds for off-policy estimates.

    Attributes:
        rows: Executions whose workers were drawn.
        left_out: The others, counted by reason. Each reason was settled before the outcome was known, so leaving
            them out selects a population, not results.
    """

    rows: tuple[LoggedExecution, ...]
    left_out: dict[str, int]


def success(record: ExecutionLogRecord) -> float:
    """Return 1 for an accepted answer, else 0."""
    return float(record.success)


def read_logged(
    records: Iterable[ExecutionLogRecord], *, reward: Callable[[ExecutionLogRecord], float] = success
) -> LoggedRows:
    """Return the executions whose workers were drawn, each once, by its last attempt.

    Args:
        records: The log.
        reward: What an execution is worth.
    """
    last: dict[str, ExecutionLogRecord] = {}
    for record in records:
        known = last.get(record.execution_id)
        if known is None or known.key < record.key:
            last[record.execution_id] = record
    rows, left_out = [], Counter[str]()
    for record in last.values():
        choices = _choices(record)
        if not choices:
            left_out["no plan in the log"] += 1
        elif any(choice.propensity is None for choice in choices):
            left_out["a worker without propensity"] += 1
        elif all(choice.propensity == 1 for choice in choices):
            left_out["nothing was drawn: every choice had the propensity 1"] += 1
        else:
            rows.append(
                LoggedExecution(
                    id=record.execution_id,
                    choices=choices,
                    reward=float(reward(record)),
                    # Executions of one template fail together.
                    group=record.source.template or record.instruction_id or record.execution_id,
                    text=record.instruction,
                    simulated=record.simulated,
                )
            )
    return LoggedRows(tuple(rows), dict(left_out))


def _choices(record: ExecutionLogRecord) -> tuple[LoggedChoice, ...]:
    """Return what the plan chose; its propensities are those of the planned workers, whoever answered in the end."""
    planned = record.planner_outputs
    logged = (planned.model_extra or {}).get("propensities")
    propensities = logged if isinstance(logged, list) else []
    described = {subtask.index: subtask.description for subtask in record.subtasks}
    if not len(propensities) == len(planned.workers) == len(planned.task_type_names):
        return tuple(
            LoggedChoice(kind, worker, None)
            for kind, worker in zip(planned.task_type_names, planned.workers, strict=False)
        )
    return tuple(
        LoggedChoice(kind, worker, None if chance is None else float(chance), described.get(index, ""))
        for index, (kind, worker, chance) in enumerate(
            zip(planned.task_type_names, planned.workers, propensities, strict=True)
        )
    )
