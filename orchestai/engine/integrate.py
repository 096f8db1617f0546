"""Combines the sub-tasks' outputs into one answer and says whether it was accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestai.contracts import (
    COMBINED,
    ExecutionResult,
    Instruction,
    Plan,
    Review,
    SubtaskRecord,
    WorkerOutput,
    judge_answer,
)


def combine(plan: Plan, outputs: Mapping[int, WorkerOutput]) -> str:
    """Join the outputs of the sinks, in order, with blank lines; a sink that failed is left out."""
    contents = [outputs[sink].content for sink in plan.graph.sinks if sink in outputs and outputs[sink].success]
    return "\n\n".join(str(content).strip() for content in contents)


def assemble_result(
    instruction: Instruction,
    plan: Plan,
    records: Mapping[int, SubtaskRecord],
    outputs: Mapping[int, WorkerOutput],
    *,
    execution_id: str,
    total_latency_ms: float,
    is_simulated: Callable[[str], bool],
    review: Review | None = None,
) -> ExecutionResult:
    """Build the result of an execution.

    `success` is not "no exception": every sub-task completed, each acceptance check holds on the combined
    answer, and the judge, if there is one, accepted it. Sub-tasks without a record were never started, because
    a parent failed: they count as skipped.
    """
    complete = _with_skipped(plan, records, is_simulated)
    completed = all(record.status == "done" for record in complete)
    answer = combine(plan, outputs)
    checks = judge_answer(instruction.acceptance, answer) if answer else ()
    contents: dict[int, Any] = {index: output.content for index, output in sorted(outputs.items()) if output.success}
    contents[COMBINED] = answer
    errors = [f"sub-task {record.index}: {record.error}" for record in complete if record.status == "failed"]
    return ExecutionResult(
        success=(
            completed and bool(answer) and all(check.held for check in checks) and (review is None or review.accepted)
        ),
        outputs=contents,
        total_cost=(
            plan.planning_cost_usd
            + sum(record.cost_usd for record in complete)
            + (review.cost_usd if review is not None else 0.0)
        ),
        total_latency_ms=total_latency_ms,
        workflow_graph=plan.graph,
        error="; ".join(errors) or None,
        retry_count=sum(max(record.attempts - 1, 0) for record in complete),
        task_metrics={record.index: _metrics(record) for record in complete},
        execution_id=execution_id,
        completed=completed,
        checks=checks,
        review=review,
        subtasks=complete,
    )


def _with_skipped(
    plan: Plan, records: Mapping[int, SubtaskRecord], is_simulated: Callable[[str], bool]
) -> tuple[SubtaskRecord, ...]:
    complete = []
    for index, subtask in enumerate(plan.graph.nodes):
        record = records.get(index)
        if record is None:
            worker = plan.assignments[index].worker
            record = SubtaskRecord(
                index=index,
                task_type=subtask.task_type,
                description=subtask.description,
                worker=worker,
                simulated=is_simulated(worker),
                status="skipped",
                error="a sub-task that it depends on failed",
            )
        complete.append(record)
    return tuple(complete)


def _metrics(record: SubtaskRecord) -> dict[str, Any]:
    return {
        "cost": record.cost_usd,
        "latency_ms": record.latency_ms,
        "worker": record.worker,
        "success": record.status == "done",
        "attempts": record.attempts,
    }
