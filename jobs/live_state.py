"""What the steps of a live instruction hand to each other, and what the user gives to start one."""

from collections.abc import Iterable
from typing import Any, Self

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestai.contracts import Budget, Instruction, Plan, SubtaskRecord, WorkerOutput
from orchestai.errors import InputError


class LiveInstructionConfig(dg.Config):
    """One instruction."""

    instruction: str = Field(description="What is to be done, in plain language.")
    inputs: dict[str, str] = Field(
        default_factory=dict, description="Material by name: `text`, or `image` / `audio` as a path or data URL."
    )
    constraints: list[str] = Field(default_factory=list, description="Conditions that the answer must meet.")
    priority: str = Field(default="normal", description="low, normal or high.")
    budget_usd: float | None = Field(default=None, description="The most that it may cost; null means no limit.")
    plan: dict[str, Any] | None = Field(
        default=None, description="A plan to run as it is (the JSON of `orchestai plan`); null lets the planner plan."
    )

    def to_instruction(self, identity: str) -> Instruction:
        """Return the instruction.

        Raises:
            InstructionError: The text is empty, too long or holds control characters.
            InputError: Another field has a value that is not allowed.
        """
        fields = {
            "id": identity,
            "text": self.instruction,
            "inputs": self.inputs,
            "constraints": tuple(self.constraints),
            "priority": self.priority,
            "budget": Budget(usd=self.budget_usd) if self.budget_usd is not None else Budget(),
        }
        try:
            return Instruction.model_validate(fields)
        except ValidationError as error:
            raise InputError(f"The instruction is not valid: {error.errors()[0]['msg']}.") from error

    def to_plan(self) -> Plan | None:
        """Return the given plan, if there is one.

        Raises:
            PlanError: It cannot be run.
            InputError: It is not a plan.
        """
        if self.plan is None:
            return None
        try:
            return Plan.model_validate({"planner": "given", "confidence": 1.0, **self.plan})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"`plan` is not a plan: {place}: {first['msg']}.", remedy="Give the JSON that `orchestai plan` prints."
            ) from error


class Finished(BaseModel):
    """What one sub-task's step gives."""

    model_config = ConfigDict(frozen=True)

    record: SubtaskRecord
    output: WorkerOutput


class SubtaskRequest(BaseModel):
    """What one sub-task's step is given."""

    model_config = ConfigDict(frozen=True)

    index: int
    instruction: Instruction
    plan: Plan
    dependency_outputs: dict[int, Any]


class LiveState(BaseModel):
    """Everything known of the execution so far."""

    model_config = ConfigDict(frozen=True)

    execution_id: str
    instruction: Instruction
    plan: Plan
    finished: dict[int, Finished] = Field(default_factory=dict)

    def ready(self, level: int) -> tuple[int, ...]:
        """Sub-tasks of one level whose parents all gave an answer."""
        graph = self.plan.graph
        if level >= len(graph.levels):
            return ()
        return tuple(
            node for node in graph.levels[level] if all(self._answered(parent) for parent in graph.dependencies[node])
        )

    def dependency_outputs(self, node: int) -> dict[int, Any]:
        """Answers of the parents of `node`."""
        return {parent: self.finished[parent].output.content for parent in self.plan.graph.dependencies[node]}

    def budget_left(self) -> Budget:
        """What the levels before have left of the budget; each sub-task of a level may use an equal share."""
        budget = self.instruction.budget
        if budget.usd is None:
            return budget
        spent = sum(finished.record.cost_usd for finished in self.finished.values())
        return budget.model_copy(update={"usd": max(budget.usd - spent, 0.0)})

    def with_finished(self, results: Iterable[Finished]) -> Self:
        """Return the state after one more level."""
        news = {finished.record.index: finished for finished in results}
        return self.model_copy(update={"finished": {**self.finished, **news}})

    @property
    def critical_path_ms(self) -> float:
        """Length of the slowest path; the steps' own overhead is Dagster's and not the workflow's."""
        finish: dict[int, float] = {}
        graph = self.plan.graph
        for node in graph.topological_order:
            start = max((finish[parent] for parent in graph.dependencies[node]), default=0.0)
            done = self.finished.get(node)
            finish[node] = start + (done.record.latency_ms if done is not None else 0.0)
        return max(finish.values())

    def _answered(self, node: int) -> bool:
        done = self.finished.get(node)
        return done is not None and done.record.status == "done"
