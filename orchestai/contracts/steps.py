"""Steps in free text and who waits for whom: a plan whose nodes belong to no task catalog."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record
from orchestai.errors import InputError


class StepPlan(Record):
    """A goal, its steps in the order in which somebody wrote them down, and the edges between them.

    The order of the steps is not the order of the graph: an edge may point backwards.

    Attributes:
        id: Identity in its data set.
        goal: What the steps are for.
        steps: One text a step.
        edges: Pairs (parent, child) of positions in `steps`.
        durations_s: Seconds that each step takes, where they are known.
    """

    id: str
    goal: str
    steps: tuple[str, ...] = Field(min_length=1)
    edges: tuple[tuple[int, int], ...]
    durations_s: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = len(self.steps)
        if any(not (0 <= p < size and 0 <= c < size) for p, c in self.edges):
            raise InputError(f"The plan {self.id!r} has an edge to a step that does not exist.")
        if not acyclic(size, self.edges):
            raise InputError(f"The plan {self.id!r} has a cycle.", remedy="Edges point from a parent to its child.")
        if self.durations_s is not None and len(self.durations_s) != size:
            raise InputError(f"The plan {self.id!r} has {size} steps but {len(self.durations_s)} durations.")
        return self


def acyclic(size: int, edges: tuple[tuple[int, int], ...] | frozenset[tuple[int, int]]) -> bool:
    """Whether `edges` between `size` nodes form no cycle; an edge from a node to itself is one."""
    parents: list[set[int]] = [set() for _ in range(size)]
    for parent, child in edges:
        parents[child].add(parent)
    done: set[int] = set()
    for _ in range(size):
        done |= {node for node in range(size) if parents[node] <= done}
    return len(done) == size
