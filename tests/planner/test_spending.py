"""What a planning language model takes is counted, kept within the budget and passed on with the plan."""

from __future__ import annotations

import pytest

from orchestai.config import Project
from orchestai.contracts import Budget, Instruction, WorkerProfile, WorkerRequest
from orchestai.errors import BudgetExceededError, PlanError
from orchestai.planner.plan_cache import PlanCache
from orchestai.planner.spending import Spending
from tests.planner.scripted_llm import Script, proposal
from tests.planner.test_planner import hybrid

INSTRUCTION = Instruction(text="Write a poem, then a title.")
GOOD, CIRCLE = proposal([[], [0]]), proposal([[1], [0]])
PRICES = {"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 2000.0}
ONE_CALL = 12 * 0.001 + 3 * 0.002  # the scripted server says 12 tokens read, 3 written


async def test_repairs_are_paid_for_too(script: Script) -> None:
    llm, planner = script(CIRCLE, GOOD, **PRICES)
    spending = Spending(Budget())
    await planner.plan_graph(INSTRUCTION, spending)
    assert len(llm.requests) == 2
    assert spending.usd == pytest.approx(2 * ONE_CALL)
    assert spending.tokens == 2 * 15


async def test_the_plan_carries_what_it_cost(project: Project, script: Script) -> None:
    _, planner = script(GOOD, **PRICES)
    plan = await hybrid(project, llm=planner).plan(INSTRUCTION)
    assert plan.planner == "llm"
    assert plan.planning_cost_usd == pytest.approx(ONE_CALL)
    assert plan.planning_tokens == 15


async def test_planning_in_vain_is_paid_for_by_the_plan_that_took_its_place(project: Project, script: Script) -> None:
    _, planner = script(CIRCLE, max_repairs=1, **PRICES)
    plan = await hybrid(project, llm=planner).plan(INSTRUCTION)
    assert plan.planner == "rules"
    assert plan.planning_cost_usd == pytest.approx(2 * ONE_CALL)
    assert plan.planning_tokens == 30


async def test_no_call_is_made_that_the_budget_may_not_have(project: Project, script: Script) -> None:
    llm, planner = script(GOOD, **PRICES)
    poor = INSTRUCTION.model_copy(update={"budget": Budget(usd=0.5)})  # 1024 tokens may be written, 2.048 dollars
    plan = await hybrid(project, llm=planner).plan(poor)
    assert llm.requests == []
    assert plan.planner == "rules"
    assert "budget_exceeded" in (plan.fallback_reason or "")
    assert plan.planning_cost_usd == 0


async def test_an_answer_that_is_no_json_is_billed_at_its_worst_case(script: Script) -> None:
    _, planner = script("no plan", max_repairs=0, **PRICES)
    spending = Spending(Budget())
    with pytest.raises(PlanError):
        await planner.plan_graph(INSTRUCTION, spending)
    assert spending.usd >= 1024 * 0.002
    assert spending.tokens >= 1024


def test_tokens_are_a_limit_too() -> None:
    profile = WorkerProfile(name="w", description="d", model="m")
    request = WorkerRequest(task_type="planner", prompt="x" * 20, max_output_tokens=30)  # 11 + 30 tokens at most
    Spending(Budget(tokens=41)).check(profile, request)
    with pytest.raises(BudgetExceededError):
        Spending(Budget(tokens=41), tokens=1).check(profile, request)


async def test_a_remembered_plan_is_not_paid_for_again(project: Project, script: Script) -> None:
    _, planner = script(GOOD, **PRICES)
    plan = await hybrid(project, llm=planner).plan(INSTRUCTION)
    cache = PlanCache()
    cache.put(INSTRUCTION, plan, version="1")
    again = cache.get(INSTRUCTION, version="1")
    assert again is not None
    assert again.plan.planner == "llm"
    assert again.plan.planning_cost_usd == 0
    assert again.plan.planning_tokens == 0
