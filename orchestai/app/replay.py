"""Makes instructions and plans of logged executions, to look at them or to run them again."""

from __future__ import annotations

from typing import get_args

from orchestai.contracts import Assignment, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.contracts.plan import PlannerName
from orchestai.errors import DataError
from orchestai.logs import ExecutionLogRecord


def instruction_of(record: ExecutionLogRecord) -> Instruction:
    """Return the instruction of a logged execution; it gets a new id.

    Raises:
        InstructionError: The logged text cannot be an instruction.
    """
    return Instruction(
        text=record.instruction,
        inputs=record.inputs,
        constraints=record.constraints,
        priority=record.priority,
        budget=record.budget,
        tenant=record.tenant,
        acceptance=record.acceptance,
    )


def plan_of(record: ExecutionLogRecord) -> Plan:
    """Return the plan of a logged execution.

    Raises:
        DataError: The record holds no sub-tasks (a plain log file of another system).
        PlanError: The logged graph cannot be run.
    """
    if not record.subtasks:
        raise DataError(
            f"Execution {record.execution_id!r} has no record of its sub-tasks.",
            remedy="Only executions that OrchestAI logged can be shown as a plan.",
        )
    outputs = record.planner_outputs
    dependencies = outputs.dependencies or tuple(() for _ in record.subtasks)
    graph = WorkflowGraph(
        nodes=tuple(
            Subtask(task_type=subtask.task_type, description=subtask.description) for subtask in record.subtasks
        ),
        dependencies=dependencies,
    )
    return Plan(
        graph=graph,
        assignments=tuple(
            Assignment(worker=subtask.worker, propensity=subtask.propensity) for subtask in record.subtasks
        ),
        planner=outputs.planner if outputs.planner in get_args(PlannerName) else "given",
        confidence=outputs.confidence,
        model_version=outputs.model_version,
        fallback_reason=outputs.fallback_reason,
        latency_ms=outputs.latency_ms or 0.0,
    )
