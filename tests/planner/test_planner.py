"""The composition: learned above the threshold, LLM below it, the rules as the floor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from orchestai.config import Project, RoutingConfig
from orchestai.contracts import (
    Assignment,
    Budget,
    Instruction,
    Modality,
    Subtask,
    TaskCatalog,
    WorkerCatalog,
    WorkflowGraph,
)
from orchestai.errors import CheckpointError, InfeasibleError, InputError, NoWorkerError, WorkersAwayError
from orchestai.planner.planner import HybridPlanner, LearnedProposal
from orchestai.planner.rules import RulesPlanner
from orchestai.planner.spending import Spending
from orchestai.routing.assign import Away
from tests.planner.scripted_llm import Script, proposal

INSTRUCTION = Instruction(text="Summarize this report.", inputs={"text": "It rained."})
GRAPH = WorkflowGraph.chain((Subtask(task_type="reasoning"), Subtask(task_type="generation")))


class ScriptedProposer:
    """A learned planner whose proposal the test writes down."""

    model_version = "test-7"

    def __init__(self, confidence: float, graph: WorkflowGraph, favourite: int, workers: int) -> None:
        row = [0.9 if index == favourite else 0.01 for index in range(workers)]
        self.proposal = LearnedProposal(graph, confidence, [row] * len(graph))

    def propose(self, _instruction: Instruction) -> LearnedProposal:
        return self.proposal


def hybrid(project: Project, **parts: Any) -> HybridPlanner:
    settings = {"routing": RoutingConfig(simulated="allow"), "confidence_threshold": 0.6, **parts}
    return HybridPlanner(tasks=project.tasks, workers=project.workers, rules=RulesPlanner(project.tasks), **settings)


def proposer(project: Project, confidence: float, favourite: str = "sim-coder") -> ScriptedProposer:
    return ScriptedProposer(confidence, GRAPH, project.workers.index(favourite), len(project.workers))


async def test_a_learned_planner_that_fails_gives_way_and_the_plan_says_why(project: Project) -> None:
    class Failing(ScriptedProposer):
        def propose(self, _instruction: Instruction) -> LearnedProposal:
            raise InputError("no words to encode")

    failing = Failing(0.9, GRAPH, 0, len(project.workers))
    plan = await hybrid(project, learned=failing).plan(INSTRUCTION)
    assert plan.planner == "rules"
    assert plan.fallback_reason == "learned planner: invalid_input: no words to encode"
    assert plan.model_version is None


@pytest.mark.parametrize("confidence", [0.6, 0.95])
async def test_a_confident_learned_plan_is_used(project: Project, confidence: float) -> None:
    plan = await hybrid(project, learned=proposer(project, confidence)).plan(INSTRUCTION)
    assert plan.planner == "learned"
    assert [node.task_type for node in plan.graph.nodes] == ["reasoning", "generation"]
    assert plan.graph.dependencies == ((), (0,))
    assert all(node.description for node in plan.graph.nodes), "workers need words, not kinds"
    assert plan.confidence == confidence
    assert plan.model_version == "test-7"
    assert plan.fallback_reason is None
    assert [assignment.worker for assignment in plan.assignments] == ["sim-coder", "sim-coder"]


@pytest.mark.parametrize("confidence", [0.599, 0.0, float("nan")])
async def test_an_unsure_learned_plan_gives_way_to_the_rules(project: Project, confidence: float) -> None:
    plan = await hybrid(project, learned=proposer(project, confidence)).plan(INSTRUCTION)
    assert plan.planner == "rules"
    assert [node.task_type for node in plan.graph.nodes] == ["summarization"]
    assert plan.model_version is None
    assert plan.fallback_reason is not None
    assert plan.fallback_reason.startswith("learned confidence ")
    assert plan.fallback_reason.endswith("< 0.60")


async def test_an_unsure_learned_plan_gives_way_to_the_llm(project: Project, script: Script) -> None:
    _, llm = script(proposal([[], [], [0, 1]]))
    plan = await hybrid(project, learned=proposer(project, 0.25), llm=llm).plan(INSTRUCTION)
    assert plan.planner == "llm"
    assert plan.graph.dependencies == ((), (), (0, 1))
    assert plan.confidence is None
    assert plan.model_version is None
    assert plan.fallback_reason == "learned confidence 0.25 < 0.60"


async def test_a_confident_learned_plan_asks_no_llm(project: Project, script: Script) -> None:
    server, llm = script(proposal([[]]))
    await hybrid(project, learned=proposer(project, 0.7), llm=llm).plan(INSTRUCTION)
    assert server.requests == []


async def test_an_llm_that_cannot_plan_gives_way_to_the_rules(project: Project, script: Script) -> None:
    server, llm = script(proposal([[1], [0]]), max_repairs=1)
    plan = await hybrid(project, llm=llm).plan(INSTRUCTION)
    assert len(server.requests) == 2
    assert plan.planner == "rules"
    assert plan.fallback_reason is not None
    assert "LLM planner: invalid_plan" in plan.fallback_reason
    assert "invalid 2 times" in plan.fallback_reason


async def test_every_failure_is_named_in_order(project: Project, script: Script) -> None:
    _, llm = script("no plan", max_repairs=0)
    plan = await hybrid(project, learned=proposer(project, 0.1), llm=llm).plan(INSTRUCTION)
    first, second = (plan.fallback_reason or "").split("; ", 1)
    assert first == "learned confidence 0.10 < 0.60"
    assert second.startswith("LLM planner: ")


async def test_the_rules_alone_are_no_fallback(project: Project) -> None:
    plan = await hybrid(project).plan(INSTRUCTION)
    assert plan.planner == "rules"
    assert plan.fallback_reason is None


async def test_planning_keeps_to_the_time_of_the_budget(project: Project) -> None:
    class Hanging:
        async def plan_graph(self, _instruction: Instruction, _spending: Spending) -> WorkflowGraph:
            await asyncio.sleep(60)
            return GRAPH

    hurried = INSTRUCTION.model_copy(update={"budget": Budget(seconds=0.05)})
    async with asyncio.timeout(5):
        plan = await hybrid(project, llm=Hanging()).plan(hurried)
    assert plan.planner == "rules"
    assert plan.fallback_reason == "LLM planner: no plan within the 0.05 s of the budget"


async def test_a_plan_that_nobody_can_do_says_what_is_missing(project: Project) -> None:
    picture = Instruction(text="What is on this picture?", inputs={"image": "cat.png"})
    planner = hybrid(project, routing=RoutingConfig(simulated="never"))
    with pytest.raises(NoWorkerError, match="'vision'") as caught:
        await planner.plan(picture)
    assert caught.value.modality == Modality.VISION.value
    assert caught.value.task_type == "image_analysis"


def test_a_given_graph_gets_workers(project: Project) -> None:
    plan = hybrid(project).finish_given(INSTRUCTION, GRAPH, "given")
    assert (plan.planner, plan.confidence, len(plan.assignments)) == ("given", 1.0, 2)


@pytest.mark.parametrize(
    ("instruction", "planner"),
    [
        (Instruction(text="Translate this into French: good morning"), "direct"),
        (Instruction(text="Translate this into French: good morning", priority="high"), "learned"),
        (Instruction(text="What is this?", inputs={"image": "data:image/png;base64,AA=="}), "learned"),
    ],
)
async def test_what_asks_for_no_plan_goes_straight_to_a_worker(
    project: Project, instruction: Instruction, planner: str
) -> None:
    plan = await hybrid(project, learned=proposer(project, 0.9), direct=True).plan(instruction)
    assert plan.planner == planner
    if planner == "direct":
        (node,) = plan.graph.nodes
        assert (node.task_type, node.description) == ("translation", instruction.text)
        assert plan.confidence is None


class ScriptedRouter:
    """A router that the test writes down; `fail` makes it break."""

    version = "router-1"

    def __init__(self, worker: str, fail: Exception | None = None) -> None:
        self.worker = worker
        self.fail = fail
        self.asked: list[tuple[str | None, tuple[Assignment, ...]]] = []

    def assign(
        self,
        graph: WorkflowGraph,
        _instruction: Instruction,
        *,
        tasks: TaskCatalog,
        catalog: WorkerCatalog,
        fallback: Sequence[Assignment],
        execution_id: str | None,
        away: Mapping[str, Away],
    ) -> tuple[Assignment, ...]:
        assert self.worker not in away
        self.asked.append((execution_id, tuple(fallback)))
        if self.fail is not None:
            raise self.fail
        assert {node.task_type for node in graph.nodes} <= set(tasks.names)
        return tuple(Assignment(worker=catalog[self.worker].name, propensity=0.5) for _ in graph.nodes)


async def test_the_router_chooses_whatever_planned(project: Project) -> None:
    router = ScriptedRouter("sim-frontier")
    for learned, planner in ((None, "rules"), (proposer(project, 0.95), "learned")):
        plan = await hybrid(project, learned=learned, router=router).plan(INSTRUCTION, execution_id="e-1")
        assert (plan.planner, plan.router_version) == (planner, "router-1")
        assert {each.worker for each in plan.assignments} == {"sim-frontier"}
        assert router.asked[-1][0] == "e-1"
    assert [each.worker for each in router.asked[-1][1]] == ["sim-coder", "sim-coder"], "the selector's, as a fallback"


@pytest.mark.parametrize("fail", [CheckpointError("torn"), ValueError("shapes")])
async def test_a_router_that_fails_leaves_the_rule_and_one_warning(
    project: Project, fail: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    planner = hybrid(project, router=ScriptedRouter("sim-frontier", fail))
    without = await hybrid(project).plan(INSTRUCTION)
    for _ in range(2):
        plan = await planner.plan(INSTRUCTION)
        assert [each.worker for each in plan.assignments] == [each.worker for each in without.assignments]
        assert plan.router_version is None
    assert len([record for record in caplog.records if "router" in record.message]) == 1


async def test_what_cannot_be_is_no_failure_of_the_router(project: Project) -> None:
    nothing = InfeasibleError(
        budget_usd=0.0, min_success=None, max_latency_ms=None, cheapest_usd=1.0, best_success=None, fastest_ms=None
    )
    with pytest.raises(InfeasibleError):
        await hybrid(project, router=ScriptedRouter("sim-frontier", nothing)).plan(INSTRUCTION)


async def test_a_kept_plan_gets_its_workers_anew(project: Project) -> None:
    kept = await hybrid(project).plan(INSTRUCTION)
    again = await hybrid(project, router=ScriptedRouter("sim-frontier")).choose_workers(
        INSTRUCTION, kept, execution_id="e-2"
    )
    assert (again.graph, again.id) == (kept.graph, kept.id)
    assert [each.worker for each in again.assignments] == ["sim-frontier"] * len(kept.graph)
    assert await hybrid(project).choose_workers(INSTRUCTION, kept) is kept


async def test_limits_hold_without_a_router(project: Project) -> None:
    instruction = INSTRUCTION.model_copy(update={"budget": Budget(max_latency_s=0.000001)})
    with pytest.raises(InfeasibleError, match="a limit of"):
        await hybrid(project).plan(instruction)


class Attendance:
    """Says who is away."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def away(self) -> dict[str, Away]:
        return {name: Away("its breaker is open", 5.0) for name in self.names}


async def test_nothing_is_planned_for_who_is_away(project: Project) -> None:
    gone = Attendance()
    planner = hybrid(project, learned=proposer(project, 0.9), attendance=gone)
    kept = await planner.plan(INSTRUCTION)
    assert [each.worker for each in kept.assignments] == ["sim-coder", "sim-coder"]
    gone.names = ("sim-coder",)
    for plan in (await planner.plan(INSTRUCTION), await planner.choose_workers(INSTRUCTION, kept)):
        assert "sim-coder" not in {name for each in plan.assignments for name in (each.worker, *each.alternatives)}
    gone.names = ()
    assert await planner.choose_workers(INSTRUCTION, kept) is kept, "back again"


async def test_where_all_are_away_it_is_refused_but_for_answers_that_stand_in(project: Project) -> None:
    everybody = Attendance(*project.workers.names)
    with pytest.raises(WorkersAwayError, match=r"tried again in 5.0 s") as caught:
        await hybrid(project, attendance=everybody).plan(INSTRUCTION)
    assert caught.value.retry_after_s == 5.0
    tenants: list[str] = []
    standing = hybrid(project, attendance=everybody, stands_in=lambda tenant: bool(tenants.append(tenant)) or True)
    assert (await standing.plan(INSTRUCTION)).assignments
    assert tenants == [INSTRUCTION.tenant]
    with pytest.raises(WorkersAwayError):
        await hybrid(project, attendance=everybody, stands_in=lambda _tenant: False).plan(INSTRUCTION)
    with pytest.raises(WorkersAwayError):
        await hybrid(project, attendance=everybody, router=ScriptedRouter("sim-frontier")).plan(INSTRUCTION)
