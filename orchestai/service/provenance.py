"""Who made what of an execution, from which material: for people who have to trust an answer."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import Field

from orchestai.contracts import COMBINED, WorkerCatalog
from orchestai.contracts.base import Record
from orchestai.engine.store import StoredExecution


class PlanOrigin(Record):
    """Who made the plan."""

    id: str
    planner: str
    confidence: float | None
    model_version: str | None
    fallback_reason: str | None
    sha256: str


class Artifact(Record):
    """What one sub-task gave.

    Attributes:
        id: Its identity: execution and sub-task.
        subtask: Position in the plan.
        task_type: Kind of the sub-task.
        description: What was asked.
        worker: Who made it.
        model: Model behind the worker.
        simulated: Whether its words are made up.
        gave_up: Workers tried before.
        prompt_version: Template that made the prompt.
        input_tokens: Tokens read, over all attempts.
        output_tokens: Tokens written, over all attempts.
        cost_usd: Dollars.
        status: How it ended.
        content_sha256: Hash of the content; null if there is none.
        parents: Artifacts that went into the prompt.
    """

    id: str
    subtask: int
    task_type: str
    description: str
    worker: str
    model: str | None
    simulated: bool
    gave_up: tuple[str, ...]
    prompt_version: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    status: str
    content_sha256: str | None
    parents: tuple[str, ...]


class Provenance(Record):
    """Where an answer comes from.

    Attributes:
        execution_id: The execution.
        instruction_id: The request.
        instruction_sha256: Hash of the instruction's text.
        inputs_sha256: Hash of each input by name.
        source: Who asked, with which request and trace.
        attempt: How many processes have taken the execution up.
        approved: Whether a person allowed the plan.
        plan: Who made the plan.
        artifacts: What the sub-tasks gave.
        answer_sha256: Hash of the combined answer.
        answer_parents: Artifacts that it consists of.
        checks_held: What became of the acceptance checks.
    """

    execution_id: str
    instruction_id: str
    instruction_sha256: str
    inputs_sha256: dict[str, str] = Field(default_factory=dict)
    source: dict[str, Any] = Field(default_factory=dict)
    attempt: int
    approved: bool = False
    plan: PlanOrigin | None = None
    artifacts: tuple[Artifact, ...] = ()
    answer_sha256: str | None = None
    answer_parents: tuple[str, ...] = ()
    checks_held: tuple[bool, ...] = ()


def provenance_of(stored: StoredExecution, workers: WorkerCatalog) -> Provenance:
    """Say where the answer of an execution comes from; of one that runs, what is known so far."""
    plan, result = stored.plan, stored.result
    common: dict[str, Any] = {
        "execution_id": stored.id,
        "instruction_id": stored.instruction.id,
        "instruction_sha256": _sha256(stored.instruction.text),
        "inputs_sha256": {name: _sha256(value) for name, value in stored.instruction.inputs.items()},
        "source": {name: value for name, value in stored.source.items() if value is not None},
        "attempt": stored.attempt,
        "approved": stored.approved,
    }
    if plan is None:
        return Provenance(**common)
    origin = PlanOrigin(
        id=plan.id,
        planner=plan.planner,
        confidence=plan.confidence,
        model_version=plan.model_version,
        fallback_reason=plan.fallback_reason,
        sha256=_sha256(plan.graph.model_dump_json()),
    )
    if result is None:
        return Provenance(**common, plan=origin)
    names = [f"{stored.id}/{node}" for node in range(len(plan.graph))]
    made = [subtask.index for subtask in result.subtasks if subtask.index in result.outputs]
    artifacts = tuple(
        Artifact(
            id=names[subtask.index],
            subtask=subtask.index,
            model=workers[subtask.worker].model if subtask.worker in workers.names else None,
            content_sha256=_sha256(result.outputs[subtask.index]) if subtask.index in result.outputs else None,
            parents=tuple(names[parent] for parent in plan.graph.dependencies[subtask.index]),
            **subtask.model_dump(
                include={
                    *("task_type", "description", "worker", "simulated", "gave_up", "prompt_version"),
                    *("input_tokens", "output_tokens", "cost_usd", "status"),
                }
            ),
        )
        for subtask in result.subtasks
    )
    return Provenance(
        **common,
        plan=origin,
        artifacts=artifacts,
        answer_sha256=_sha256(result.outputs[COMBINED]) if result.outputs.get(COMBINED) else None,
        answer_parents=tuple(names[sink] for sink in plan.graph.sinks if sink in made),
        checks_held=tuple(check.held for check in result.checks),
    )


def _sha256(content: Any) -> str:
    return hashlib.sha256(str(content).encode("utf-8", "surrogatepass")).hexdigest()
