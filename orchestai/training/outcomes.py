"""Logged executions in the form that training reads: names instead of ids, parents before children."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from orchestai.contracts import Split, Subtask, TaskCatalog, WorkerCatalog, WorkflowGraph, planning_text
from orchestai.errors import OrchestAIError

MOST_TOKENS = 1024
MOST_LATENCY_MS = 60_000.0

_PERSON = ("corpus", "given")


class UnusableError(Exception):
    """An execution from which no plan can be learned; the text is a word for counting."""


@dataclass(frozen=True)
class Outcome:
    """One execution.

    Attributes:
        execution_id: Its identity.
        attempt: Which try it was.
        sequence: Its place in the attempt.
        timestamp: When it ended.
        instruction: The instruction's text.
        task_types: Name of the task type of each node.
        dependencies: Parents of each node, in order.
        workers: Who did each node in the end, which a retry may have changed from the plan.
        planner: Who made the plan.
        fallback_reason: Why the learned plan gave way to it; None where it did not.
        success: The logged success.
        accepted: A check held: success that means more than 'no exception'.
        completed: Every sub-task ran to its end.
        simulated: Whether any simulated worker answered.
        cost_usd: Dollars.
        latency_ms: Milliseconds.
        tokens: Output tokens of each node; 0 if not measured.
        latencies: Milliseconds of each node; 0 if not measured.
        example_id: The corpus example, if any.
        template: Its family.
        split: Where the corpus puts it.
    """

    execution_id: str
    attempt: int
    sequence: int
    timestamp: datetime
    instruction: str
    task_types: tuple[str, ...]
    dependencies: tuple[tuple[int, ...], ...]
    workers: tuple[str, ...]
    planner: str
    fallback_reason: str | None
    success: bool
    accepted: bool
    completed: bool
    simulated: bool
    cost_usd: float
    latency_ms: float
    tokens: tuple[int, ...]
    latencies: tuple[float, ...]
    example_id: str | None
    template: str | None
    split: Split | None

    @property
    def plan(self) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
        """What makes two plans the same, whoever does the work."""
        return (self.task_types, self.dependencies)

    @property
    def person_made(self) -> bool:
        """Whether a person vouches for the plan."""
        return self.planner in _PERSON


def read_outcome(row: Mapping[str, Any], tasks: TaskCatalog, workers: WorkerCatalog) -> Outcome:
    """Return the execution that a row of the table of executions holds.

    Raises:
        UnusableError: Its plan is missing, malformed, or names what the catalogs lack.
    """
    names = _names(row["task_types"], row["task_type_ids"], tasks.names, "unknown_task_type")
    planned = _names(row["workers"], row["model_selections"], workers.names, "unknown_worker")
    dependencies = _dependencies(row)
    if not len(names) == len(planned) == len(dependencies):
        raise UnusableError("malformed_plan")
    subtasks = {subtask["index"]: subtask for subtask in row["subtasks"] or ()}
    measured = [subtasks.get(node, {}) for node in range(len(names))]
    done = tuple(subtask.get("worker") or plan for subtask, plan in zip(measured, planned, strict=True))
    if not set(done) <= set(workers.names):
        raise UnusableError("unknown_worker")
    try:
        WorkflowGraph(nodes=tuple(Subtask(task_type=name) for name in names), dependencies=dependencies)
    except (OrchestAIError, ValidationError) as error:
        raise UnusableError("malformed_plan") from error
    checks = row["checks"] or ()
    outcome = Outcome(
        execution_id=row["execution_id"],
        attempt=row["attempt"],
        sequence=row["sequence"],
        timestamp=row["timestamp"],
        instruction=planning_text(row["instruction"].strip(), row["inputs"]),
        task_types=names,
        dependencies=dependencies,
        workers=done,
        planner=row["planner"] or "unknown",
        fallback_reason=row["fallback_reason"] or None,
        success=row["success"],
        accepted=row["success"] and any(check["held"] for check in checks),
        completed=row["completed"],
        simulated=row["simulated"],
        cost_usd=row["cost"],
        latency_ms=row["latency_ms"],
        tokens=tuple(subtask.get("output_tokens") or 0 for subtask in measured),
        latencies=tuple(subtask.get("latency_ms") or 0.0 for subtask in measured),
        example_id=row["example_id"],
        template=row["template"],
        split=row["split"],
    )
    if not outcome.instruction:
        raise UnusableError("empty_instruction")
    return parents_first(outcome)


def parents_first(outcome: Outcome) -> Outcome:
    """Return `outcome` with its nodes renumbered so that parents come before children.

    Among nodes that may come next the smallest old number comes first, so a plan that is in order stays.
    """
    children: list[list[int]] = [[] for _ in outcome.task_types]
    waits = [len(parents) for parents in outcome.dependencies]
    for child, parents in enumerate(outcome.dependencies):
        for parent in parents:
            children[parent].append(child)
    ready = [node for node, count in enumerate(waits) if not count]
    order: list[int] = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for child in children[node]:
            waits[child] -= 1
            if not waits[child]:
                heapq.heappush(ready, child)
    place = {old: new for new, old in enumerate(order)}
    return replace(
        outcome,
        task_types=tuple(outcome.task_types[old] for old in order),
        dependencies=tuple(tuple(sorted(place[parent] for parent in outcome.dependencies[old])) for old in order),
        workers=tuple(outcome.workers[old] for old in order),
        tokens=tuple(outcome.tokens[old] for old in order),
        latencies=tuple(outcome.latencies[old] for old in order),
    )


def complexities(outcomes: Sequence[Outcome]) -> tuple[float, ...] | None:
    """Return the measured effort of each node between 0 and 1, or None if a node was never measured.

    `log(1 + effort) / log(1 + most)`, at most 1: effort is the mean of the node's output tokens over the
    executions, `most` 1,024; where a worker counts no tokens, its milliseconds, `most` 60,000. Both bounds
    are fixed, so that more data do not change the values of old rows.
    """
    for values, most in (
        ([outcome.tokens for outcome in outcomes], float(MOST_TOKENS)),
        ([outcome.latencies for outcome in outcomes], MOST_LATENCY_MS),
    ):
        nodes = [[value for value in node if value > 0] for node in zip(*values, strict=True)]
        if all(nodes):
            means = [math.fsum(node) / len(node) for node in nodes]
            return tuple(min(math.log1p(mean) / math.log1p(most), 1.0) for mean in means)
    return None


def _names(
    names: Sequence[str] | None, ids: Sequence[int] | None, known: tuple[str, ...], reason: str
) -> tuple[str, ...]:
    """Names as logged, or else what the ids stand for; ids shift when a catalog grows, names do not."""
    if names:
        found = tuple(names)
    elif ids:
        if not all(0 <= number < len(known) for number in ids):
            raise UnusableError(reason)
        found = tuple(known[number] for number in ids)
    else:
        raise UnusableError("no_plan")
    if not set(found) <= set(known):
        raise UnusableError(reason)
    return found


def _dependencies(row: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    if row["dependencies"] is not None:
        return tuple(tuple(parents) for parents in row["dependencies"])
    adjacency = row["adjacency"]
    if not adjacency:
        raise UnusableError("no_plan")
    if any(len(line) != len(adjacency) for line in adjacency):
        raise UnusableError("malformed_plan")
    # adjacency[parent][child]: the parents of a child stand in its column.
    size = range(len(adjacency))
    return tuple(tuple(parent for parent in size if adjacency[parent][child]) for child in size)
