"""The composition: learned plan, below a calibrated confidence the LLM's, and the rules as the floor."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from orchestai.config import RoutingConfig
from orchestai.contracts import (
    Assignment,
    Instruction,
    Modality,
    Plan,
    Subtask,
    TaskCatalog,
    WorkerCatalog,
    WorkflowGraph,
)
from orchestai.contracts.plan import PlannerName
from orchestai.errors import InfeasibleError, NoWorkerError, OrchestAIError, WorkersAwayError
from orchestai.planner.describe import describe_nodes
from orchestai.planner.llm_planner import LLMPlanner
from orchestai.planner.route import decide_route
from orchestai.planner.rules import RulesPlanner
from orchestai.planner.spending import Spending
from orchestai.routing.assign import NOBODY_AWAY, Away, assign_workers, replace_away
from orchestai.routing.limits import keep_limits

_log = logging.getLogger(__name__)

T = TypeVar("T")


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


class _Draft(NamedTuple):
    """A graph that still needs its workers."""

    graph: WorkflowGraph
    planner: PlannerName
    confidence: float | None
    probabilities: Sequence[Sequence[float]] | None = None  # [S, W], workers in catalog order
    reasons: tuple[str, ...] = ()
    spending: Spending | None = None


class WorkerRouter(Protocol):
    """The learned router, as the composition sees it."""

    @property
    def version(self) -> str:
        """Which checkpoint it is."""

    def assign(
        self,
        graph: WorkflowGraph,
        instruction: Instruction,
        *,
        tasks: TaskCatalog,
        catalog: WorkerCatalog,
        fallback: Sequence[Assignment],
        execution_id: str | None,
        away: Mapping[str, Away],
    ) -> tuple[Assignment, ...]:
        """Return one assignment a sub-task."""


class Attendance(Protocol):
    """Who is there, as the composition sees it."""

    def away(self) -> Mapping[str, Away]:
        """Return the workers that are left alone now."""


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
        router: Chooses the workers, if one is trained; else the policy of the learned planner, or the rule, does.
        attendance: Knows which workers are left alone for now, so that nothing is planned for them; without it all
            are taken to be there.
        stands_in: Says whether there may be answers for a tenant while all workers are away: then a plan is made
            for them all the same, because the engine can give those answers.
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
        router: WorkerRouter | None = None,
        attendance: Attendance | None = None,
        stands_in: Callable[[str], bool] | None = None,
    ) -> None:
        self._tasks = tasks
        self._workers = workers
        self._routing = routing
        self._rules = rules
        self._learned = learned
        self._llm = llm
        self._threshold = confidence_threshold
        self._direct = direct
        self._router = router
        self._attendance = attendance
        self._stands_in = stands_in
        self._warned = False

    @property
    def model_version(self) -> str | None:
        """Checkpoint of the learned planner, if there is one."""
        return self._learned.model_version if self._learned is not None else None

    async def plan(self, instruction: Instruction, *, execution_id: str | None = None) -> Plan:
        """Return the plan for `instruction`; `fallback_reason` says why it is not the learned one.

        Args:
            instruction: What is asked.
            execution_id: The live execution that the plan is for, which decides what is left to chance; without
                one nothing is.

        Raises:
            InfeasibleError: No choice of workers keeps to budget, success target and time limit.
            NoWorkerError: A sub-task needs a call that no worker answers.
            WorkersAwayError: All who could do a sub-task are left alone now, and nothing can stand in for them.
        """
        started = time.monotonic()
        draft = await self._draft(instruction)
        return await self._on_thread(self._finish, instruction, draft, started, execution_id)

    async def choose_workers(self, instruction: Instruction, plan: Plan, *, execution_id: str | None = None) -> Plan:
        """Return a plan of the same graph whose workers the router chooses anew.

        Without a router the plan stays as it is, but for workers that are left alone now: others take their place.

        Raises:
            InfeasibleError: As `plan`.
            WorkersAwayError: As `plan`.
        """
        return await self._on_thread(self._chosen_anew, instruction, plan, execution_id)

    def finish_given(self, instruction: Instruction, graph: WorkflowGraph, planner: PlannerName) -> Plan:
        """Give workers to a graph that somebody else made (a checked plan of a corpus, or the user's own)."""
        return self._finish(instruction, _Draft(graph, planner, 1.0), time.monotonic(), None)

    async def _draft(self, instruction: Instruction) -> _Draft:
        reasons: list[str] = []
        spending = Spending(instruction.budget)
        if self._direct and (graph := self._direct_graph(instruction)) is not None:
            return _Draft(graph, "direct", None)
        if self._learned is not None:
            # The network takes milliseconds of CPU; other executions go on meanwhile.
            try:
                proposal = await asyncio.to_thread(self._learned.propose, instruction)
            except OrchestAIError as error:
                proposal = None
                reasons.append(f"learned planner: {error.code}: {error}")
            if proposal is not None and proposal.confidence >= self._threshold:
                described = describe_nodes(proposal.graph, self._rules.plan_graph(instruction), self._tasks)
                return _Draft(described, "learned", proposal.confidence, proposal.worker_probabilities)
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
                return _Draft(graph, "llm", None, reasons=tuple(reasons), spending=spending)
        graph, confidence = self._rules.plan_with_confidence(instruction)
        return _Draft(graph, "rules", confidence, reasons=tuple(reasons), spending=spending)

    def _direct_graph(self, instruction: Instruction) -> WorkflowGraph | None:
        """Return one sub-task of the type that the rules end with, where nothing asks for a plan; else None."""
        if decide_route(instruction).planner:
            return None
        nodes = self._rules.plan_graph(instruction).nodes
        if any(self._tasks[node.task_type].modality is not Modality.CHAT for node in nodes):
            return None  # a picture or a recording needs a worker of its own
        whole = Subtask(task_type=nodes[-1].task_type, description=instruction.text)
        return WorkflowGraph(nodes=(whole,), dependencies=((),))

    async def _on_thread(self, work: Callable[..., Plan], *arguments: object) -> Plan:
        """Reading texts for the router takes milliseconds of CPU; without one there is no reason to wait."""
        if self._router is None:
            return work(*arguments)
        return await asyncio.to_thread(work, *arguments)

    def _finish(self, instruction: Instruction, draft: _Draft, started: float, execution_id: str | None) -> Plan:
        assignments, routed = self._for_those_present(
            instruction, lambda away: self._assigned(instruction, draft, execution_id, away)
        )
        return Plan(
            graph=draft.graph,
            assignments=assignments,
            planner=draft.planner,
            confidence=draft.confidence,
            model_version=self.model_version if draft.planner == "learned" else None,
            fallback_reason="; ".join(draft.reasons) or None,
            router_version=self._router.version if self._router is not None and routed else None,
            latency_ms=(time.monotonic() - started) * 1000,
            planning_cost_usd=draft.spending.usd if draft.spending is not None else 0.0,
            planning_tokens=draft.spending.tokens if draft.spending is not None else 0,
        )

    def _assigned(
        self, instruction: Instruction, draft: _Draft, execution_id: str | None, away: Mapping[str, Away]
    ) -> tuple[tuple[Assignment, ...], bool]:
        """Return the workers of a draft, and whether the router chose them."""
        assignments = assign_workers(
            draft.graph,
            instruction,
            tasks=self._tasks,
            workers=self._workers,
            routing=self._routing,
            probabilities=draft.probabilities,
            away=away,
        )
        routed = self._route(instruction, draft.graph, assignments, execution_id, away)
        if routed is not None:
            return routed, True
        kept = keep_limits(
            draft.graph,
            instruction,
            assignments,
            tasks=self._tasks,
            workers=self._workers,
            routing=self._routing,
            probabilities=draft.probabilities,
            away=away,
        )
        return kept, False

    def _chosen_anew(self, instruction: Instruction, plan: Plan, execution_id: str | None) -> Plan:
        return self._for_those_present(instruction, lambda away: self._routed(instruction, plan, execution_id, away))

    def _routed(self, instruction: Instruction, plan: Plan, execution_id: str | None, away: Mapping[str, Away]) -> Plan:
        present = replace_away(
            plan.graph,
            instruction,
            plan.assignments,
            tasks=self._tasks,
            workers=self._workers,
            routing=self._routing,
            away=away,
        )
        routed = self._route(instruction, plan.graph, present, execution_id, away)
        if routed is not None and self._router is not None:
            return plan.model_copy(update={"assignments": routed, "router_version": self._router.version})
        if present == plan.assignments:
            return plan
        kept = keep_limits(
            plan.graph,
            instruction,
            present,
            tasks=self._tasks,
            workers=self._workers,
            routing=self._routing,
            away=away,
        )
        return plan.model_copy(update={"assignments": kept, "router_version": None})

    def _for_those_present(self, instruction: Instruction, choose: Callable[[Mapping[str, Away]], T]) -> T:
        """Choose among the workers that are there; among all only where something can stand in for those away."""
        away = self._attendance.away() if self._attendance is not None else NOBODY_AWAY
        try:
            return choose(away)
        except WorkersAwayError:
            if self._stands_in is None or not self._stands_in(instruction.tenant):
                raise
            return choose(NOBODY_AWAY)

    def _route(
        self,
        instruction: Instruction,
        graph: WorkflowGraph,
        fallback: Sequence[Assignment],
        execution_id: str | None,
        away: Mapping[str, Away],
    ) -> tuple[Assignment, ...] | None:
        """Ask the router; None where there is none, or where it fails: the rule always works."""
        if self._router is None:
            return None
        try:
            return self._router.assign(
                graph,
                instruction,
                tasks=self._tasks,
                catalog=self._workers,
                fallback=fallback,
                execution_id=execution_id,
                away=away,
            )
        except (InfeasibleError, NoWorkerError, WorkersAwayError):
            raise
        except Exception as error:  # a damaged router must not keep anybody from being served
            if not self._warned:
                self._warned = True
                _log.warning("the router fails, workers are chosen by rule: %s: %s", type(error).__name__, error)
            return None
