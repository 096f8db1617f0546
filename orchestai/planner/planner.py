"""The composition: learned plan, below a calibrated confidence the LLM's, and the rules as the floor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestai.config import RoutingConfig
from orchestai.contracts import Instruction, Modality, Plan, Subtask, TaskCatalog, WorkerCatalog, WorkflowGraph
from orchestai.contracts.plan import PlannerName
from orchestai.errors import OrchestAIError
from orchestai.planner.describe import describe_nodes
from orchestai.planner.llm_planner import LLMPlanner
from orchestai.planner.route import decide_route
from orchestai.planner.rules import RulesPlanner
from orchestai.planner.spending import Spending
from orchestai.routing.assign import assign_workers


class LearnedProposal(NamedTuple):
    """What the learned planner proposes for one instruction."""

    graph: WorkflowGraph
    confidence: float
    worker_probabilities: Sequence[Sequence[float]]  # [S, W], workers in catalog order


class Proposer(Protocol):
    """The learned planner, as the composition sees it; torch stays behind it."""

    @property
    def model_version(self) -> str:
        """Which checkpoint it is."""

    def propose(self, instruction: Instruction) -> LearnedProposal:
        """Return graph, confidence and worker preferences."""


class HybridPlanner:
    """Asks the learned planner first and falls back where it is not sure.

    Args:
        tasks: Task types a plan may use.
        workers: Workers a plan may use.
        routing: Whether simulated workers may take part.
        rules: The floor; always there.
        learned: A trained planner, if there is one.
        llm: A planning language model, if one is configured.
        confidence_threshold: Below this probability the learned plan is not used.
        direct: Let one worker answer what asks for no plan (see `decide_route`).
    """

    def __init__(
        self,
        *,
        tasks: TaskCatalog,
        workers: WorkerCatalog,
        routing: RoutingConfig,
        rules: RulesPlanner,
        learned: Proposer | None = None,
        llm: LLMPlanner | None = None,
        confidence_threshold: float = 0.5,
        direct: bool = False,
    ) -> None:
        self._tasks = tasks
        self._workers = workers
        self._routing = routing
        self._rules = rules
        self._learned = learned
        self._llm = llm
        self._threshold = confidence_threshold
        self._direct = direct

    @property
    def model_version(self) -> str | None:
        """Checkpoint of the learned planner, if there is one."""
        return self._learned.model_version if self._learned is not None else None

    async def plan(self, instruction: Instruction) -> Plan:
        """Return the plan for `instruction`; `fallback_reason` says why it is not the learned one.

        Raises:
            NoWorkerError: A sub-task needs a call that no worker answers.
        """
        started = time.monotonic()
        reasons: list[str] = []
        spending = Spending(instruction.budget)
        if self._direct and (graph := self._direct_graph(instruction)) is not None:
            return self._finish(instruction, graph, "direct", started, confidence=None)
        if self._learned is not None:
            # The network takes milliseconds of CPU; other executions go on meanwhile.
            try:
                proposal = await asyncio.to_thread(self._learned.propose, instruction)
            except OrchestAIError as error:
                proposal = None
                reasons.append(f"learned planner: {error.code}: {error}")
            if proposal is not None and proposal.confidence >= self._threshold:
                return self._finish(
                    instruction,
                    describe_nodes(proposal.graph, self._rules.plan_graph(instruction), self._tasks),
                    "learned",
                    started,
                    confidence=proposal.confidence,
                    probabilities=proposal.worker_probabilities,
                )
            if proposal is not None:
                reasons.append(f"learned confidence {proposal.confidence:.2f} < {self._threshold:.2f}")
        if self._llm is not None:
            seconds = instruction.budget.seconds
            try:
                async with asyncio.timeout(seconds):
                    graph = await self._llm.plan_graph(instruction, spending)
            except TimeoutError:
                reasons.append(f"LLM planner: no plan within the {seconds} s of the budget")
            except OrchestAIError as error:
                reasons.append(f"LLM planner: {error.code}: {error}")
            else:
                return self._finish(
                    instruction, graph, "llm", started, confidence=None, reasons=reasons, spending=spending
                )
        graph, confidence = self._rules.plan_with_confidence(instruction)
        return self._finish(
            instruction, graph, "rules", started, confidence=confidence, reasons=reasons, spending=spending
        )

    def finish_given(self, instruction: Instruction, graph: WorkflowGraph, planner: PlannerName) -> Plan:
        """Give workers to a graph that somebody else made (a checked plan of a corpus, or the user's own)."""
        return self._finish(instruction, graph, planner, time.monotonic(), confidence=1.0)

    def _direct_graph(self, instruction: Instruction) -> WorkflowGraph | None:
        """Return one sub-task of the type that the rules end with, where nothing asks for a plan; else None."""
        if decide_route(instruction).planner:
            return None
        nodes = self._rules.plan_graph(instruction).nodes
        if any(self._tasks[node.task_type].modality is not Modality.CHAT for node in nodes):
            return None  # a picture or a recording needs a worker of its own
        whole = Subtask(task_type=nodes[-1].task_type, description=instruction.text)
        return WorkflowGraph(nodes=(whole,), dependencies=((),))

    def _finish(
        self,
        instruction: Instruction,
        graph: WorkflowGraph,
        planner: PlannerName,
        started: float,
        *,
        confidence: float | None,
        probabilities: Sequence[Sequence[float]] | None = None,
        reasons: Sequence[str] = (),
        spending: Spending | None = None,
    ) -> Plan:
        assignments = assign_workers(
            graph,
            instruction,
            tasks=self._tasks,
            workers=self._workers,
            routing=self._routing,
            probabilities=probabilities,
        )
        return Plan(
            graph=graph,
            assignments=assignments,
            planner=planner,
            confidence=confidence,
            model_version=self.model_version if planner == "learned" else None,
            fallback_reason="; ".join(reasons) or None,
            latency_ms=(time.monotonic() - started) * 1000,
            planning_cost_usd=spending.usd if spending is not None else 0.0,
            planning_tokens=spending.tokens if spending is not None else 0,
        )
