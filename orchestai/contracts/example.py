"""Plans to learn from and plans predicted: what trainers, baselines, importers and benchmarks exchange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import Field

from orchestai.contracts.base import Record

Split = Literal["train", "validation", "test"]


class PlanExample(Record):
    """An instruction and the plan that is right for it.

    Attributes:
        id: Identity of the example.
        instruction: The instruction's text.
        task_types: Name of the task type of each node, parents before children.
        dependencies: Parents of each node.
        model_selections: Cheapest accepted worker a node, if outcomes are known.
        imitation: The selections only repeat what was done; nothing says that it was good.
        complexities: Measured effort a node between 0 and 1, if known.
        group: Template or family; a group never spans two splits.
        split: Where the example belongs, if that is fixed.
    """

    id: str
    instruction: str
    task_types: tuple[str, ...]
    dependencies: tuple[tuple[int, ...], ...]
    model_selections: tuple[str, ...] | None = None
    imitation: bool = False
    complexities: tuple[float, ...] | None = None
    group: str = ""
    split: Split | None = None


class PlanPrediction(Record):
    """A predicted plan.

    Attributes:
        task_types: Name of the task type of each node, parents before children.
        dependencies: Parents of each node.
        confidence: Probability that the plan is exactly right.
    """

    task_types: tuple[str, ...]
    dependencies: tuple[tuple[int, ...], ...]
    confidence: float = Field(default=0.0, ge=0, le=1)


class PlanPredictor(Protocol):
    """Anything that predicts plans: the learned planner, the rules, every baseline."""

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        """Return one plan an instruction, in order."""
