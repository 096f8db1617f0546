from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from orchestai.contracts import Assignment, Instruction, Plan, Subtask, WorkflowGraph
from orchestai.planner.plan_cache import PlanCache


def plan_of(*descriptions: str) -> Plan:
    nodes = tuple(Subtask(task_type="generation", description=each) for each in descriptions)
    return Plan(
        graph=WorkflowGraph.chain(nodes), assignments=tuple(Assignment(worker="w") for _ in nodes), planner="rules"
    )


TEXT = "Summarise the report and translate it into French"
PLAN = plan_of("Summarise the report", "Translate the summary into French")


@pytest.fixture
def cache() -> PlanCache:
    cache = PlanCache()
    cache.put(Instruction(text=TEXT), PLAN, version="v")
    return cache


def test_the_same_instruction_gets_the_plan_under_a_new_id(cache: PlanCache) -> None:
    found = cache.get(Instruction(text=TEXT), version="v")
    assert found is not None
    assert (found.kind, found.similarity) == ("exact", 1.0)
    assert found.plan.graph == PLAN.graph
    assert found.plan.id != PLAN.id


def test_a_detail_is_exchanged(cache: PlanCache) -> None:
    found = cache.get(Instruction(text=TEXT.replace("French", "Polish")), version="v")
    assert found is not None
    assert found.kind == "adapted"
    assert found.changes == (("French", "Polish"),)
    assert [node.description for node in found.plan.graph.nodes] == [
        "Summarise the report",
        "Translate the summary into Polish",
    ]
    assert found.plan.graph.dependencies == PLAN.graph.dependencies


def test_names_that_change_places_are_exchanged_at_once() -> None:
    cache = PlanCache()
    cache.put(Instruction(text="Find a train from Paris to Rome"), plan_of("Train from Paris to Rome"), version="v")
    found = cache.get(Instruction(text="Find a train from Rome to Paris"), version="v")
    assert found is not None
    assert found.plan.graph.nodes[0].description == "Train from Rome to Paris"


@pytest.mark.parametrize(
    "text",
    [
        "Do not summarise the report and translate it into French",
        "Summarise the report or translate it into French",
        "Summarise the report and translate it into 5",
        "Delete the report and translate it into French",
        "Summarise the report and translate it into French and Polish",
    ],
)
def test_other_words_need_another_plan(cache: PlanCache, text: str) -> None:
    assert cache.get(Instruction(text=text), version="v") is None


def test_a_detail_that_no_subtask_names_cannot_be_exchanged() -> None:
    cache = PlanCache()
    cache.put(Instruction(text="Write 5 lines"), plan_of("Write the lines"), version="v")
    assert cache.get(Instruction(text="Write 7 lines"), version="v") is None


@pytest.mark.parametrize("other", [{"tenant": "b"}, {"inputs": {"image": "x"}}, {"constraints": ("short",)}])
def test_plans_stay_in_their_scope(cache: PlanCache, other: dict[str, object]) -> None:
    assert cache.get(Instruction(text=TEXT, **other), version="v") is None  # type: ignore[arg-type]
    assert cache.get(Instruction(text=TEXT), version="v2") is None


def test_the_encoder_may_only_object() -> None:
    class Far:
        def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return np.eye(2, dtype=np.float32)[[0 if "French" in text else 1 for text in texts]]

    cache = PlanCache(Far())
    cache.put(Instruction(text=TEXT), PLAN, version="v")
    assert cache.get(Instruction(text=TEXT.replace("French", "Polish")), version="v") is None
    assert cache.get(Instruction(text=TEXT), version="v") is not None


def test_it_is_bounded_and_forgets() -> None:
    now = [0.0]
    cache = PlanCache(max_entries=2, ttl_s=10, clock=lambda: now[0])
    for number in (1, 2, 3):
        cache.put(Instruction(text=f"count {number} apples"), plan_of("count"), version="v")
    assert len(cache) == 2
    assert cache.get(Instruction(text="count 3 apples"), version="v") is not None
    now[0] = 10.0
    assert cache.get(Instruction(text="count 3 apples"), version="v") is None
