"""Frozen records that every layer shares; they load no heavy library."""

from __future__ import annotations

from orchestai.contracts.acceptance import AcceptanceCheck, CheckResult, judge_answer
from orchestai.contracts.catalog import (
    ArmSpec,
    Modality,
    SimulationProfile,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
)
from orchestai.contracts.example import PlanExample, PlanPrediction, PlanPredictor, Split
from orchestai.contracts.graph import MAX_SUBTASKS, Subtask, WorkflowGraph
from orchestai.contracts.instruction import Budget, Instruction, Priority, planning_text
from orchestai.contracts.message import Message, MessageBudget, MessagePayload, MessageProvenance, MessageType
from orchestai.contracts.plan import Assignment, Plan
from orchestai.contracts.protocols import Planner, StreamingWorker, Worker, WorkerRequest, worst_case
from orchestai.contracts.result import COMBINED, ExecutionEvent, ExecutionResult, Review, SubtaskRecord, WorkerOutput
from orchestai.contracts.serving import ArmName, ServedArm, ServedBy
from orchestai.contracts.steps import StepPlan

__all__ = [
    "COMBINED",
    "MAX_SUBTASKS",
    "AcceptanceCheck",
    "ArmName",
    "ArmSpec",
    "Assignment",
    "Budget",
    "CheckResult",
    "ExecutionEvent",
    "ExecutionResult",
    "Instruction",
    "Message",
    "MessageBudget",
    "MessagePayload",
    "MessageProvenance",
    "MessageType",
    "Modality",
    "Plan",
    "PlanExample",
    "PlanPrediction",
    "PlanPredictor",
    "Planner",
    "Priority",
    "Review",
    "ServedArm",
    "ServedBy",
    "SimulationProfile",
    "Split",
    "StepPlan",
    "StreamingWorker",
    "Subtask",
    "SubtaskRecord",
    "TaskCatalog",
    "TaskType",
    "Worker",
    "WorkerCatalog",
    "WorkerOutput",
    "WorkerProfile",
    "WorkerRequest",
    "WorkflowGraph",
    "judge_answer",
    "planning_text",
    "worst_case",
]
