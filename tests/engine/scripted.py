"""A worker whose behaviour each test writes down, and plans over such workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from orchestai.contracts import (
    Assignment,
    Plan,
    Subtask,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
    WorkflowGraph,
)

Behaviour = Callable[[WorkerRequest], Awaitable[WorkerOutput]]


class ScriptedWorker:
    """A worker that does what the test says, and notes when it was called."""

    def __init__(self, name: str, behaviour: Behaviour, **facts: object) -> None:
        self.profile = WorkerProfile.model_validate({"name": name, "description": "scripted", "model": name, **facts})
        self.behaviour = behaviour
        self.requests: list[WorkerRequest] = []

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        self.requests.append(request)
        return await self.behaviour(request)

    async def aclose(self) -> None:
        return None


def answer(content: str, *, cost: float = 0.0, after_s: float = 0.0, tokens: int = 1) -> Behaviour:
    async def run(_request: WorkerRequest) -> WorkerOutput:
        await asyncio.sleep(after_s)
        return WorkerOutput(content=content, cost=cost, metadata={"input_tokens": tokens, "output_tokens": tokens})

    return run


def make_plan(dependencies: tuple[tuple[int, ...], ...], workers: list[str] | None = None) -> Plan:
    names = workers or [f"w{index}" for index in range(len(dependencies))]
    nodes = tuple(Subtask(task_type="generation", description=f"step {index}") for index in range(len(dependencies)))
    return Plan(
        graph=WorkflowGraph(nodes=nodes, dependencies=dependencies),
        assignments=tuple(Assignment(worker=name) for name in names),
        planner="given",
    )
