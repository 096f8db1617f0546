"""How plans are made and workers chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from orchestai.contracts import MAX_SUBTASKS
from orchestai.contracts.base import Record


class PlannerConfig(Record):
    """The planner: the learned one, and what plans when it is not sure.

    Attributes:
        encoder: Text encoder by name (`minilm` is packaged) or path of a transformers model.
        checkpoint: Weights of the learned planner; null means `phase1` under `paths.checkpoints`.
        confidence_threshold: Below this confidence the LLM plans instead, where one is there to ask.
        fallback: Who plans then: an LLM, or the keyword rules.
        direct: Let one worker answer, without a plan, where nothing asks for one: at most three constraints, no high
            priority, at most five steps, no complex dependencies, no specialised domain.
        llm_worker: Worker that plans as LLM; null means the dearest endpoint of yours; without one,
            the rules plan.
        max_repairs: How often an invalid plan of the LLM is sent back with its problem.
        gnn: Layer type of the graph generator.
        subtask_size: Width of a sub-task embedding.
        node_size: Width of a node embedding.
        max_subtasks: The most sub-tasks that a plan may have.
    """

    encoder: str = Field(default="minilm", min_length=1)
    checkpoint: Path | None = None
    confidence_threshold: float = Field(default=0.6, ge=0, le=1)
    fallback: Literal["llm", "rules"] = "llm"
    direct: bool = False
    llm_worker: str | None = None
    max_repairs: int = Field(default=2, ge=0, le=10)
    gnn: Literal["gcn", "gat", "sage"] = "gat"
    subtask_size: int = Field(default=512, ge=1)
    node_size: int = Field(default=128, ge=1)
    max_subtasks: int = Field(default=MAX_SUBTASKS, ge=1, le=MAX_SUBTASKS)


class RoutingConfig(Record):
    """Which workers may be chosen.

    Attributes:
        simulated: Whether simulated workers answer: never, only where no real worker can, or always.
        checkpoint: The learned router; null means `router` under `paths.checkpoints`, if it is there.
        prefer: What the router looks for: the least price at the success of the best single worker, or the most
            success at any price.
        exploration: Share of choices made at random, so that logs can compare policies; only where a router
            knows what is at risk.
        exploration_margin: How much less likely to succeed than the preferred worker one drawn at random may be.
    """

    simulated: Literal["never", "fallback", "allow"] = "fallback"
    checkpoint: Path | None = None
    prefer: Literal["thrift", "success"] = "thrift"
    exploration: float = Field(default=0.02, ge=0, le=1)
    exploration_margin: float = Field(default=0.1, ge=0, le=1)
