"""A graph with a worker for each node: what the engine runs."""

from __future__ import annotations

import uuid
from typing import Literal, Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record
from orchestai.contracts.graph import WorkflowGraph
from orchestai.contracts.serving import ServedBy
from orchestai.errors import PlanError

PlannerName = Literal["learned", "llm", "rules", "corpus", "given", "cache", "direct"]


class Assignment(Record):
    """Who does one sub-task, why, and what it may cost.

    Attributes:
        worker: Name of the worker.
        reason: Why this one, in words for the user.
        alternatives: Who else may do it, the best first, if that worker cannot.
        propensity: Probability with which the policy chose it; needed for off-policy estimates.
        propensities: That of every worker that might have been chosen, by name, where there was a choice.
        estimated_cost_usd: Price of the call with an answer as long as allowed.
        estimated_latency_ms: Expected time of the call.
        predicted_success: Probability that its answer is accepted, as the router expects it; null without one.
        predicted_cost_usd: Expected price of the call, likewise.
    """

    worker: str
    alternatives: tuple[str, ...] = ()
    reason: str = ""
    propensity: float | None = Field(default=None, ge=0, le=1)
    propensities: dict[str, float] = Field(default_factory=dict)
    estimated_cost_usd: float = Field(default=0.0, ge=0)
    estimated_latency_ms: float = Field(default=0.0, ge=0)
    predicted_success: float | None = Field(default=None, ge=0, le=1)
    predicted_cost_usd: float | None = Field(default=None, ge=0)


class Plan(Record):
    """WorkflowGraph + worker assignment + confidence.

    Attributes:
        id: Identity of the plan.
        graph: The sub-tasks and their dependencies.
        assignments: One a node.
        planner: Who made it.
        confidence: Probability that the graph is right; 1 for a given plan, null where the planner has none.
        model_version: Checkpoint that made it, if learned.
        fallback_reason: Why the learned planner did not make it, if it was asked and did not.
        router_version: Checkpoint of the router that chose workers, if one did.
        latency_ms: Time that planning took.
        serving: Which version of the registry made it, and in which comparison.
        planning_cost_usd: What was paid to a language model for planning, be its plan used or not.
        planning_tokens: What it read and wrote.
    """

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    graph: WorkflowGraph
    assignments: tuple[Assignment, ...]
    planner: PlannerName
    confidence: float | None = Field(default=None, ge=0, le=1)
    model_version: str | None = None
    fallback_reason: str | None = None
    router_version: str | None = None
    latency_ms: float = Field(default=0.0, ge=0)
    serving: ServedBy | None = None
    planning_cost_usd: float = Field(default=0.0, ge=0)
    planning_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.assignments) != len(self.graph):
            raise PlanError(
                f"The plan has {len(self.graph)} sub-tasks but {len(self.assignments)} workers.",
                remedy="Assign exactly one worker to each sub-task.",
            )
        return self

    @property
    def estimated_cost_usd(self) -> float:
        """Sum over the sub-tasks."""
        return sum(assignment.estimated_cost_usd for assignment in self.assignments)

    @property
    def estimated_latency_ms(self) -> float:
        """Length of the critical path."""
        finish: dict[int, float] = {}
        for node in self.graph.topological_order:
            start = max((finish[parent] for parent in self.graph.dependencies[node]), default=0.0)
            finish[node] = start + self.assignments[node].estimated_latency_ms
        return max(finish.values())
