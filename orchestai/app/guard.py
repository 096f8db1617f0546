"""The reflex layer as executions see it: what is refused, answered at once, cleaned, and put back in the end."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from orchestai.config import Project
from orchestai.contracts import COMBINED, Assignment, ExecutionResult, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.errors import InstructionError, RefusedError
from orchestai.reflex import ReflexPipeline, ReflexVerdict

_LONG_CHARS = 4096
"""Texts from here on are searched in another thread, so that the event loop goes on."""

CACHE = "(cache)"
"""Stands for the worker where a kept answer was given again."""


class Guard:
    """The reflex layer in front of the executions of one runtime.

    Args:
        pipeline: The stages.
        version: Everything of the system that an answer depends on: models, prompts, workers.
    """

    def __init__(self, pipeline: ReflexPipeline, version: str) -> None:
        self.pipeline = pipeline
        self._version = version

    def renew(self, version: str) -> None:
        """Answers that were kept before stand for another system from now on."""
        self._version = version

    async def check(self, instruction: Instruction) -> ReflexVerdict:
        """Return the verdict on an instruction that may go on, or that has an answer already.

        Raises:
            RefusedError: It tries to change the rules of the system.
            InstructionError: It is larger than the limits of `reflex/` allow.
        """
        size = len(instruction.text) + sum(len(value) for value in instruction.inputs.values())
        if size < _LONG_CHARS:
            verdict = self.pipeline.check(instruction, model_version=self._version, scored=False)
        else:
            verdict = await asyncio.to_thread(
                self.pipeline.check, instruction, model_version=self._version, scored=False
            )
        if verdict.kind == "blocked":
            reason = verdict.reason or "The instruction is refused."
            raise RefusedError(reason) if verdict.status == 403 else InstructionError(reason)
        return verdict

    async def suspects(self, verdict: ReflexVerdict) -> bool:
        """Say whether external effects must wait for a person: the full injection score, which takes milliseconds."""
        return (await asyncio.to_thread(self.pipeline.assess, verdict)).gated

    def keep(self, verdict: ReflexVerdict, result: ExecutionResult) -> None:
        """Keep an answer that a check or a judge accepted."""
        if result.accepted:
            self.pipeline.store(verdict, result.answer, judged=True)

    def restore(self, verdict: ReflexVerdict, result: ExecutionResult) -> ExecutionResult:
        """Put the caller's own data back where placeholders stand; log and state keep the placeholders."""
        if not verdict.pii:
            return result
        outputs = {node: self.restore_value(verdict, value) for node, value in result.outputs.items()}
        return result.model_copy(update={"outputs": outputs})

    def restore_value(self, verdict: ReflexVerdict, value: Any) -> Any:
        """Put the caller's own data back into a text; other values stay as they are."""
        return self.pipeline.restore(verdict, value) if isinstance(value, str) else value

    def answer(self, verdict: ReflexVerdict, execution_id: str) -> tuple[Plan, ExecutionResult]:
        """Return a kept answer in the form of an execution; it still has placeholders."""
        graph = WorkflowGraph(
            nodes=(Subtask(task_type="answer", description="Give the kept answer again."),), dependencies=((),)
        )
        plan = Plan(graph=graph, assignments=(Assignment(worker=CACHE, reason=verdict.kind),), planner="cache")
        return plan, ExecutionResult(
            success=True,
            outputs={0: verdict.answer, COMBINED: verdict.answer},
            total_cost=0.0,
            total_latency_ms=verdict.timings_ms.get("total", 0.0),
            workflow_graph=graph,
            execution_id=execution_id,
            completed=True,
        )


def build_guard(project: Project, served: str | None) -> Guard:
    """Build the reflex layer of a project.

    Args:
        project: The configuration.
        served: Identity of what plans; None where the rules do.
    """
    return Guard(ReflexPipeline(project.reflex), guard_version(project, served))


def guard_version(project: Project, served: str | None) -> str:
    """Return everything of the system that an answer depends on: what plans, prompts, workers."""
    parts = [served or "rules"]
    parts += [f"{prompt.label}:{prompt.system}:{prompt.template}" for prompt in project.prompts if prompt.active]
    parts += [worker.model_dump_json() for worker in project.workers.profiles()]
    parts.append(project.engine.model_dump_json())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
