"""Lets a language model plan: structured output, validated, repaired a limited number of times."""

from __future__ import annotations

import json
import re
from typing import Any

from orchestai.contracts import (
    MAX_SUBTASKS,
    Instruction,
    Subtask,
    TaskCatalog,
    Worker,
    WorkerRequest,
    WorkflowGraph,
)
from orchestai.errors import MalformedResponseError, PlanError
from orchestai.planner.spending import Spending
from orchestai.prompts import PromptLibrary

_FENCED = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)


class LLMPlanner:
    """Plans with a worker that answers chat calls.

    Args:
        worker: Who plans.
        prompts: Holds the templates `planner` and `repair`.
        tasks: The task types that a plan may use.
        max_repairs: How often an invalid plan is sent back with its error.
    """

    def __init__(self, worker: Worker, prompts: PromptLibrary, tasks: TaskCatalog, max_repairs: int = 2) -> None:
        self._worker = worker
        self._prompts = prompts
        self._tasks = tasks
        self._max_repairs = max_repairs

    async def plan_graph(self, instruction: Instruction, spending: Spending | None = None) -> WorkflowGraph:
        """Return the graph that the model proposes.

        Args:
            instruction: What to plan.
            spending: Counts the calls, those in vain as well, and keeps them within the budget.

        Raises:
            BudgetExceededError: The next call may take more than is left.
            PlanError: The last proposal is still invalid.
            WorkerError: The worker gives no answer.
        """
        spending = spending or Spending(instruction.budget)
        prompt = self._prompts.render_planner(instruction, self._tasks)
        for attempt in range(self._max_repairs + 1):
            request = WorkerRequest(
                task_type="planner",
                system=prompt.system,
                prompt=prompt.prompt,
                max_output_tokens=1024,
                json_schema=plan_schema(self._tasks),
                prompt_version=prompt.version,
            )
            text = await self._ask(request, spending)
            try:
                return parse_plan(text, self._tasks)
            except PlanError as error:
                if attempt == self._max_repairs:
                    raise PlanError(
                        f"The model's plan was invalid {attempt + 1} times; the last time: {error}",
                        remedy="Use a stronger worker for planning (planner.llm_worker).",
                    ) from error
                prompt = self._prompts.render_repair(instruction, self._tasks, proposal=text, error=str(error))
        raise AssertionError("unreachable: the loop returns or raises")

    async def _ask(self, request: WorkerRequest, spending: Spending) -> str:
        spending.check(self._worker.profile, request)
        try:
            output = await self._worker.run(request)
        except MalformedResponseError as error:
            spending.garbled(self._worker.profile, request)
            if error.answer is None:
                raise
            return error.answer  # not plain JSON: a fence is taken off, all else goes back for repair
        spending.answered(output)
        return str(output.content)


def plan_schema(tasks: TaskCatalog) -> dict[str, Any]:
    """JSON Schema of a plan over these task types."""
    node = {
        "type": "object",
        "properties": {
            "task_type": {"type": "string", "enum": list(tasks.names)},
            "description": {"type": "string"},
        },
        "required": ["task_type", "description"],
        "additionalProperties": False,
    }
    parents = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": MAX_SUBTASKS - 1}}
    return {
        "type": "object",
        "properties": {
            "nodes": {"type": "array", "items": node, "minItems": 1, "maxItems": MAX_SUBTASKS},
            "dependencies": {"type": "array", "items": parents},
        },
        "required": ["nodes", "dependencies"],
        "additionalProperties": False,
    }


def parse_plan(text: str, tasks: TaskCatalog) -> WorkflowGraph:
    """Read a plan from a model's answer.

    Raises:
        PlanError: It is not JSON, names unknown task types, or is not an acyclic graph.
    """
    fenced = _FENCED.search(text)
    try:
        raw = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"The plan is not valid JSON: {error}.") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("nodes"), list):
        raise PlanError('The plan must be an object with the lists "nodes" and "dependencies".')
    nodes = tuple(_parse_node(index, node, tasks) for index, node in enumerate(raw["nodes"]))
    return WorkflowGraph(nodes=nodes, dependencies=_parse_dependencies(raw.get("dependencies")))


def _parse_node(index: int, node: Any, tasks: TaskCatalog) -> Subtask:
    name = node.get("task_type") if isinstance(node, dict) else None
    if name not in tasks.names:
        known = ", ".join(tasks.names)
        raise PlanError(f"nodes[{index}] has the unknown task type {name!r}.", remedy=f"Known: {known}.")
    return Subtask(task_type=name, description=str(node.get("description") or ""))


def _parse_dependencies(raw: Any) -> tuple[tuple[int, ...], ...]:
    if not isinstance(raw, list) or not all(isinstance(parents, list) for parents in raw):
        raise PlanError('"dependencies" must be a list with one list of parents a node.')
    for node, parents in enumerate(raw):
        for parent in parents:
            if not isinstance(parent, int) or isinstance(parent, bool):
                raise PlanError(f"dependencies[{node}] holds {parent!r}, which is not an index.")
    return tuple(tuple(dict.fromkeys(parents)) for parents in raw)
