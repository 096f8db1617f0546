"""A plan as a tree that fills in while it executes."""

from __future__ import annotations

from collections.abc import Collection

from rich.text import Text
from rich.tree import Tree

from orchestai.cli.console import clean, dollars, milliseconds
from orchestai.contracts import ExecutionEvent, Plan, WorkerCatalog

_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "yellow"),
    "retrying": ("↻", "yellow"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
}


def simulated_nodes(plan: Plan, workers: WorkerCatalog) -> frozenset[int]:
    """Return the nodes of a plan whose workers the simulator plays."""
    return frozenset(index for index, assignment in enumerate(plan.assignments) if workers[assignment.worker].simulated)


class PlanTree:
    """Draws a plan; `update` takes the engine's events.

    A node hangs below its last parent; further parents are named on its line.

    Args:
        plan: What to draw.
        simulated: The nodes whose workers are simulated; they are marked.
    """

    def __init__(self, plan: Plan, simulated: Collection[int]) -> None:
        self._plan = plan
        self._simulated = simulated
        self._events: dict[int, ExecutionEvent] = {}

    def update(self, event: ExecutionEvent) -> None:
        """Take over the new state of one node."""
        self._events[event.index] = event

    def __rich__(self) -> Tree:
        plan = self._plan
        head = Text(f"plan by {plan.planner}", style="bold")
        if plan.confidence is not None and plan.planner != "given":
            head.append(f" · confidence {plan.confidence:.2f}", style="dim")
        head.append(f" · {plan.latency_ms:.0f} ms", style="dim")
        if plan.fallback_reason:
            head.append(f"\nfallback: {clean(plan.fallback_reason)}", style="dim")
        tree = Tree(head)
        branches: dict[int, Tree] = {}
        for index in plan.graph.topological_order:
            parents = plan.graph.dependencies[index]
            branch = branches[max(parents)] if parents else tree
            branches[index] = branch.add(self._line(index))
        return tree

    def _line(self, index: int) -> Text:
        subtask = self._plan.graph.nodes[index]
        assignment = self._plan.assignments[index]
        event = self._events.get(index)
        mark, style = _MARKS[event.status if event else "waiting"]
        line = Text(f"{mark} ", style=style)
        line.append(f"{index} {subtask.task_type}", style="bold")
        line.append(f" → {assignment.worker}", style="cyan")
        if index in self._simulated:
            line.append(" (simulated)", style="magenta")
        if event and event.status in ("done", "failed"):
            line.append(f"  {milliseconds(event.latency_ms)}  {dollars(event.cost_usd)}", style="dim")
            if event.attempt > 1:
                line.append(f"  {event.attempt} attempts", style="yellow")
        parents = self._plan.graph.dependencies[index]
        if len(parents) > 1:
            line.append(f"  needs {', '.join(map(str, parents))}", style="dim")
        if subtask.description:
            text = " ".join(clean(subtask.description).split())
            line.append(f"\n    {text[:100]}{'…' if len(text) > 100 else ''}", style="dim")
        if event and event.error:
            line.append(f"\n    {clean(event.error)}", style="red")
        return line
