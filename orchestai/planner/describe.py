"""Says in words what each node of a learned plan is to do: the networks name kinds, workers need sentences."""

from __future__ import annotations

from collections import defaultdict, deque

from orchestai.contracts import Subtask, TaskCatalog, WorkflowGraph


def describe_nodes(graph: WorkflowGraph, clauses: WorkflowGraph, tasks: TaskCatalog) -> WorkflowGraph:
    """Return `graph` with a description on every node.

    A node takes the words of the instruction's clause that the rules read as the same kind of sub-task, in
    order; where there is none it is described by its task type.

    Args:
        graph: A plan without descriptions.
        clauses: The rules' plan of the same instruction, whose descriptions are clauses of it.
        tasks: Describes the task types.
    """
    said: dict[str, deque[str]] = defaultdict(deque)
    for node in clauses.nodes:
        said[node.task_type].append(node.description)
    nodes = []
    for node in graph.nodes:
        words = said[node.task_type]
        text = node.description or (words.popleft() if words else _describe(node, tasks))
        nodes.append(node.model_copy(update={"description": text}))
    return graph.model_copy(update={"nodes": tuple(nodes)})


def _describe(node: Subtask, tasks: TaskCatalog) -> str:
    kind = node.task_type.replace("_", " ")
    return f"Do only the part of the request that is {kind}: {tasks[node.task_type].description}"
