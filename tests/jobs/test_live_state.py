"""What the steps hand on, reckoned by hand."""

from typing import Any

import pytest

from jobs.live_ops import mapping_key
from jobs.live_state import Finished, LiveState
from orchestai.contracts import (
    Assignment,
    Budget,
    Instruction,
    Plan,
    Subtask,
    SubtaskRecord,
    WorkerOutput,
    WorkflowGraph,
)


def state(dependencies: list[list[int]], usd: float | None = None, name: str = "summarization") -> LiveState:
    graph = WorkflowGraph(
        nodes=tuple(Subtask(task_type=name) for _ in dependencies),
        dependencies=tuple(tuple(parents) for parents in dependencies),
    )
    plan = Plan(graph=graph, assignments=tuple(Assignment(worker="w") for _ in dependencies), planner="given")
    return LiveState(execution_id="e", instruction=Instruction(text="Go.", budget=Budget(usd=usd)), plan=plan)


def finished(index: int, *, status: Any = "done", ms: float = 0.0, usd: float = 0.0) -> Finished:
    record = SubtaskRecord(
        index=index, task_type="summarization", worker="w", status=status, latency_ms=ms, cost_usd=usd
    )
    return Finished(record=record, output=WorkerOutput(content=f"answer {index}", success=status == "done"))


def test_a_level_is_ready_when_all_parents_answered() -> None:
    diamond = state([[], [0], [0], [1, 2]])
    assert diamond.ready(0) == (0,)
    assert diamond.ready(1) == ()

    after_first = diamond.with_finished([finished(0)])
    assert after_first.ready(1) == (1, 2)

    half = after_first.with_finished([finished(1), finished(2, status="failed")])
    assert half.ready(2) == ()
    assert half.ready(7) == ()


def test_dependency_outputs_are_those_of_the_parents() -> None:
    live = state([[], [], [0, 1]]).with_finished([finished(0), finished(1)])

    assert live.dependency_outputs(2) == {0: "answer 0", 1: "answer 1"}


def test_the_critical_path_is_the_slowest_way_through() -> None:
    # 0 (10 ms) -> 1 (5 ms) -> 3 (1 ms) takes 16 ms; 2 (12 ms) -> 3 takes 13 ms.
    live = state([[], [0], [], [1, 2]]).with_finished(
        [finished(0, ms=10), finished(1, ms=5), finished(2, ms=12), finished(3, ms=1)]
    )

    assert live.critical_path_ms == pytest.approx(16)


def test_what_levels_spent_is_taken_off_the_budget() -> None:
    live = state([[], [], [0, 1]], usd=1.0).with_finished([finished(0, usd=0.25), finished(1, usd=0.5)])

    assert live.budget_left().usd == pytest.approx(0.25)
    assert state([[]], usd=None).budget_left().usd is None
    overdrawn = state([[], [0]], usd=0.1).with_finished([finished(0, usd=0.2)])
    assert overdrawn.budget_left().usd == 0.0


def test_the_state_survives_the_way_through_json() -> None:
    live = state([[], [0]], usd=1.0).with_finished([finished(0, usd=0.25)])

    assert LiveState.model_validate_json(live.model_dump_json()) == live


@pytest.mark.parametrize(
    ("name", "key"), [("summarization", "00_summarization"), ("web-search v2", "00_web_search_v2"), ("é", "00__")]
)
def test_step_names_hold_only_what_dagster_allows(name: str, key: str) -> None:
    assert mapping_key(state([[]], name=name), 0) == key
