"""What the service says about executions."""

from __future__ import annotations

import json
from typing import Any

import pydantic_core
from pydantic import Field

from orchestai.app.executions import Execution
from orchestai.contracts import CheckResult, ExecutionResult, Plan, SubtaskRecord
from orchestai.contracts.base import Record
from orchestai.engine.store import ExecutionStatus, StoredExecution, Summary


class Usage(Record):
    """Tokens over all sub-tasks and attempts."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class ExecutionAnswer(Record):
    """One execution.

    Attributes:
        execution_id: Its identity.
        status: `accepted` and `running` are worked on; `waiting` needs a person; the others are ended.
        created: When it was accepted, Unix time.
        expires: When a waiting one ends by itself, Unix time.
        reason: Why it waits, or why it ended without a result.
        instruction: What was asked.
        answer: The combined answer.
        success: A check or a judge accepted the answer; without either, every sub-task completed.
        completed: Every sub-task ran to its end.
        simulated: Whether a simulated worker took part.
        cost_usd: Dollars.
        latency_ms: Milliseconds from start to end.
        usage: Tokens.
        retry_count: Retries over all sub-tasks.
        error: What went wrong.
        outputs: Content by sub-task, and the combined answer under -1.
        checks: What became of the acceptance checks.
        subtasks: What was measured of each sub-task.
        plan: Graph and workers.
    """

    execution_id: str
    status: ExecutionStatus
    created: float | None = None
    expires: float | None = None
    reason: str | None = None
    instruction: str | None = None
    answer: str | None = None
    success: bool | None = None
    completed: bool | None = None
    simulated: bool | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    usage: Usage | None = None
    retry_count: int | None = None
    error: str | None = None
    outputs: dict[str, Any] = Field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    subtasks: tuple[SubtaskRecord, ...] = ()
    plan: Plan | None = None


class ExecutionList(Record):
    """A page of executions.

    Attributes:
        executions: The latest first.
        cursor: Gives the next page; null on the last one.
        cost_usd_by_tenant: Dollars of all finished executions since `since`, not only of this page.
    """

    executions: tuple[Summary, ...]
    cursor: str | None = None
    cost_usd_by_tenant: dict[str, float]


class Accepted(Record):
    """An execution that goes on after the answer."""

    execution_id: str
    status: ExecutionStatus
    location: str
    reason: str | None = None
    expires: float | None = None


def answer_of(execution: Execution) -> ExecutionAnswer:
    """Return what is said of an execution that just ended."""
    stopped = not execution.result.completed and "cancelled: " in (execution.result.error or "")
    return ExecutionAnswer(
        execution_id=execution.result.execution_id,
        status="cancelled" if stopped else "finished",
        plan=execution.plan,
        **_result_fields(execution.result),
    )


def answer_of_stored(stored: StoredExecution) -> ExecutionAnswer:
    """Return what is said of an execution in the store."""
    return ExecutionAnswer(
        execution_id=stored.id,
        status=stored.status,
        created=stored.created,
        expires=stored.expires if stored.status == "waiting" else None,
        reason=stored.reason,
        instruction=stored.instruction.text,
        plan=stored.plan,
        **(_result_fields(stored.result) if stored.result is not None else {}),
    )


def usage_of(result: ExecutionResult) -> Usage:
    """Sum the tokens of an execution."""
    given = sum(subtask.input_tokens for subtask in result.subtasks)
    made = sum(subtask.output_tokens for subtask in result.subtasks)
    return Usage(input_tokens=given, output_tokens=made, total_tokens=given + made)


def to_json(value: Any) -> bytes:
    """Write JSON; what JSON does not know (NaN, half a surrogate pair in a model's answer) never stops an answer."""
    try:
        return pydantic_core.to_json(value, inf_nan_mode="null")
    except pydantic_core.PydanticSerializationError:
        plain = pydantic_core.to_jsonable_python(value, inf_nan_mode="null")
        return json.dumps(plain, default=str).encode()


def _result_fields(result: ExecutionResult) -> dict[str, Any]:
    return {
        "answer": result.answer,
        "success": result.success,
        "completed": result.completed,
        "simulated": result.simulated,
        "cost_usd": result.total_cost,
        "latency_ms": result.total_latency_ms,
        "usage": usage_of(result),
        "retry_count": result.retry_count,
        "error": result.error,
        "outputs": {str(node): content for node, content in result.outputs.items()},
        "checks": result.checks,
        "subtasks": result.subtasks,
    }
