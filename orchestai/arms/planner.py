"""The planner arm: a planner standing where a worker stands."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from orchestai.arms.base import Role, local_profile
from orchestai.contracts import (
    Instruction,
    Plan,
    PlanPrediction,
    PlanPredictor,
    Subtask,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
    WorkflowGraph,
    planning_text,
)
from orchestai.errors import InputError, WorkerRequestError

PlanCallable = Callable[[Instruction], Plan | Awaitable[Plan]]


class PlannerArm:
    """Plans the instruction in a request's prompt and answers with the graph as JSON.

    `{"subtasks": [{"task_type", "description", "depends_on", "worker"}], "confidence"}`, parents before children
    as the planner gave them; `worker` is null where the planner assigns none.

    Args:
        planner: A predictor of plans, or a (coroutine) function from an instruction to a plan.
        name: Name in plans and logs.
    """

    def __init__(self, planner: PlanPredictor | PlanCallable, *, name: str = "planner") -> None:
        self._planner = planner
        self._profile = local_profile(
            name, "Breaks an instruction into sub-tasks and says who waits for whom.", typical_latency_ms=100.0
        )

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    @property
    def role(self) -> Role:
        """What it is there for."""
        return "planner"

    @property
    def max_calls(self) -> int:
        """It is not known to call a model; a planner that does keeps its own account."""
        return 0

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Plan the prompt.

        Raises:
            WorkerRequestError: The prompt is no instruction, or no plan came of it.
            WorkerError: As the planner itself.
        """
        started = time.monotonic()
        try:
            instruction = Instruction(text=request.prompt, inputs=request.inputs)
            graph, workers, confidence = await self._plan(instruction)
        except InputError as error:
            raise WorkerRequestError(error.message, worker=self._profile.name, remedy=error.remedy) from error
        subtasks = [
            {
                "task_type": node.task_type,
                "description": node.description,
                "depends_on": list(parents),
                "worker": worker,
            }
            for node, parents, worker in zip(graph.nodes, graph.dependencies, workers, strict=True)
        ]
        return WorkerOutput(
            content=json.dumps({"subtasks": subtasks, "confidence": confidence}, ensure_ascii=False),
            metadata={"model": self._profile.name, "simulated": False, "confidence": confidence, "calls": 0},
            latency_ms=(time.monotonic() - started) * 1000,
        )

    async def aclose(self) -> None:
        """The planner belongs to whoever gave it."""

    async def _plan(self, instruction: Instruction) -> tuple[WorkflowGraph, Sequence[str | None], float | None]:
        predict: Any = getattr(self._planner, "predict", None)
        if predict is not None:
            text = planning_text(instruction.text, instruction.inputs)
            # A predictor computes; the event loop has other sub-tasks to serve meanwhile.
            predictions: list[PlanPrediction] = await asyncio.to_thread(predict, [text])
            graph = _graph(predictions[0])
            return graph, [None] * len(graph), predictions[0].confidence
        plan: Any = self._planner(instruction)  # type: ignore[operator]  # not a predictor, so the callable
        if inspect.isawaitable(plan):
            plan = await plan
        return plan.graph, [assignment.worker for assignment in plan.assignments], plan.confidence


def _graph(prediction: PlanPrediction) -> WorkflowGraph:
    nodes = tuple(Subtask(task_type=name) for name in prediction.task_types)
    return WorkflowGraph(nodes=nodes, dependencies=prediction.dependencies)
