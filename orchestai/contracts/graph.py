"""The planned DAG: sub-tasks and who waits for whom."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record
from orchestai.errors import CycleError, DanglingDependencyError, PlanError

if TYPE_CHECKING:
    import networkx as nx

MAX_SUBTASKS = 20


class Subtask(Record):
    """One decomposed unit of work.

    Attributes:
        task_type: Name of its type in the task catalog.
        description: What exactly is to be done; this goes into the worker's prompt.
        complexity: Predicted effort between 0 and 1, when a planner gives one.
    """

    task_type: str = Field(min_length=1)
    description: str = ""
    complexity: float | None = Field(default=None, ge=0, le=1)


class WorkflowGraph(Record):
    """A directed acyclic graph of sub-tasks.

    Attributes:
        nodes: The sub-tasks; their position is their index.
        dependencies: Parents of each node. Note the transpose: `dependencies[child]` holds parents,
            `adjacency()[parent][child]` is 1.
    """

    nodes: tuple[Subtask, ...]
    dependencies: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = len(self.nodes)
        if size == 0:
            raise PlanError("The plan has no sub-task.", remedy="A plan needs at least one.")
        if size > MAX_SUBTASKS:
            raise PlanError(
                f"The plan has {size} sub-tasks; {MAX_SUBTASKS} are allowed.",
                remedy="Split the instruction.",
            )
        if len(self.dependencies) != size:
            raise PlanError(
                f"The plan has {size} sub-tasks but {len(self.dependencies)} lists of dependencies.",
                remedy="Give one list a sub-task; an empty list means that it waits for nothing.",
            )
        for node, parents in enumerate(self.dependencies):
            for parent in parents:
                if not 0 <= parent < size:
                    raise DanglingDependencyError(node, parent, size)
                if parent == node:
                    raise CycleError([node])
            if len(set(parents)) != len(parents):
                raise PlanError(f"Sub-task {node} names a dependency twice: {list(parents)}.")
        _ = self.levels
        return self

    @classmethod
    def chain(cls, nodes: tuple[Subtask, ...]) -> WorkflowGraph:
        """Return the graph in which every node waits for the one before it."""
        return cls(nodes=nodes, dependencies=tuple((i - 1,) if i else () for i in range(len(nodes))))

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Nodes grouped by the length of the longest path that leads to them.

        Raises:
            CycleError: There is no such grouping.
        """
        level: dict[int, int] = {}
        waiting = {node: set(parents) for node, parents in enumerate(self.dependencies)}
        current = 0
        while waiting:
            ready = [node for node, parents in waiting.items() if all(parent in level for parent in parents)]
            if not ready:
                raise CycleError(_find_cycle(waiting))
            for node in ready:
                del waiting[node]
            level.update(dict.fromkeys(ready, current))
            current += 1
        return tuple(tuple(n for n in range(len(self.nodes)) if level[n] == d) for d in range(current))

    @property
    def topological_order(self) -> tuple[int, ...]:
        """All nodes, parents before children."""
        return tuple(node for level in self.levels for node in level)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """All (parent, child) pairs."""
        return tuple((parent, child) for child, ps in enumerate(self.dependencies) for parent in ps)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Nodes that wait for each node."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for child, parents in enumerate(self.dependencies):
            for parent in parents:
                found[parent].append(child)
        return tuple(tuple(nodes) for nodes in found)

    @property
    def sinks(self) -> tuple[int, ...]:
        """Nodes that nobody waits for: their outputs form the answer."""
        parents = {parent for parents in self.dependencies for parent in parents}
        return tuple(node for node in range(len(self.nodes)) if node not in parents)

    @property
    def is_chain(self) -> bool:
        """Whether every node waits for exactly the one before it."""
        return all(tuple(ps) == ((i - 1,) if i else ()) for i, ps in enumerate(self.dependencies))

    def adjacency(self) -> list[list[int]]:
        """Return the matrix whose entry [parent][child] is 1 for an edge."""
        matrix = [[0] * len(self.nodes) for _ in self.nodes]
        for parent, child in self.edges:
            matrix[parent][child] = 1
        return matrix

    def to_networkx(self) -> nx.DiGraph[int]:
        """Return the graph for NetworkX, with `task_type` and `description` on the nodes."""
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph()
        for index, node in enumerate(self.nodes):
            graph.add_node(index, task_type=node.task_type, description=node.description)
        graph.add_edges_from(self.edges)
        return graph


def _find_cycle(waiting: dict[int, set[int]]) -> list[int]:
    node = next(iter(waiting))
    seen: list[int] = []
    while node not in seen:
        seen.append(node)
        node = next(parent for parent in waiting[node] if parent in waiting)
    return seen[seen.index(node) :][::-1]
