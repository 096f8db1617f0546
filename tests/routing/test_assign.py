"""Who does a sub-task: modality first, then simulated or not, then preference or price."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from orchestai.config import RoutingConfig
from orchestai.contracts import (
    Assignment,
    Instruction,
    Modality,
    SimulationProfile,
    Subtask,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
    WorkflowGraph,
)
from orchestai.errors import NoWorkerError, WorkersAwayError, is_retryable
from orchestai.routing.assign import Away, assign_workers, candidates, explore_workers, replace_away

TASKS = TaskCatalog(
    types=(
        TaskType(name="write", description="d", max_output_tokens=100),
        TaskType(name="look", description="d", modality=Modality.VISION, max_output_tokens=100),
        TaskType(name="listen", description="d", modality=Modality.AUDIO),
    )
)


def worker(name: str, *, price: float = 0.0, latency: float = 100.0, **more: Any) -> WorkerProfile:
    return WorkerProfile(
        name=name,
        description="d",
        model=name,
        output_usd_per_mtok=price,
        typical_latency_ms=latency,
        **more,
    )


SIM = SimulationProfile()
BOTH = (Modality.CHAT, Modality.VISION)
WORKERS = WorkerCatalog(
    workers=(
        worker("dear", price=20.0),
        worker("cheap-slow", price=2.0, latency=900.0),
        worker("cheap-quick", price=2.0, latency=50.0),
        worker("sim-free", simulation=SIM, modalities=BOTH),
        worker("sim-eyes", price=1.0, simulation=SIM, modalities=(Modality.VISION,)),
    )
)


def graph(*task_types: str) -> WorkflowGraph:
    return WorkflowGraph.chain(tuple(Subtask(task_type=name) for name in task_types))


def assign(*task_types: str, simulated: Any = "allow", **more: Any) -> tuple[Assignment, ...]:
    return assign_workers(
        graph(*task_types),
        Instruction(text="x" * 36),
        tasks=TASKS,
        workers=more.pop("workers", WORKERS),
        routing=RoutingConfig(simulated=simulated),
        **more,
    )


def test_the_cheapest_able_worker_is_taken() -> None:
    (chosen,) = assign("write")
    assert chosen.worker == "sim-free"
    assert chosen.reason == "the cheapest of 4 candidates"
    assert chosen.propensity == 1.0


def test_among_equally_cheap_ones_the_faster_is_taken() -> None:
    (chosen,) = assign("write", simulated="never")
    assert chosen.worker == "cheap-quick"
    # 100 output tokens at $2 a million; input is free
    assert chosen.estimated_cost_usd == pytest.approx(0.0002)
    assert chosen.estimated_latency_ms == 50.0


def test_never_means_never() -> None:
    assert assign("write", simulated="never")[0].worker == "cheap-quick"
    with pytest.raises(NoWorkerError) as caught:
        assign("write", "look", simulated="never")
    assert str(caught.value) == (
        "No worker offers 'vision', which the sub-task type 'look' needs. "
        "Add a worker with that modality to dbt_like_configs/workers/."
    )


def test_fallback_takes_a_simulated_worker_only_where_no_real_one_can() -> None:
    write, look = assign("write", "look", simulated="fallback")
    assert write.worker == "cheap-quick"
    assert look.worker == "sim-free"


def test_nobody_for_a_modality_is_an_error_even_if_all_are_allowed() -> None:
    with pytest.raises(NoWorkerError, match="'audio'"):
        assign("listen", simulated="allow")


def test_the_only_candidate_is_named_as_such() -> None:
    only = WorkerCatalog(workers=(worker("one", price=5.0), worker("sim", simulation=SIM)))
    (chosen,) = assign("write", simulated="never", workers=only, probabilities=[[0.0, 1.0]])
    assert (chosen.worker, chosen.reason) == ("one", "the only worker for chat calls")


def test_preferences_decide_before_prices() -> None:
    (chosen,) = assign("write", probabilities=[[0.6, 0.1, 0.2, 0.05, 0.05]])
    assert chosen.worker == "dear"
    # of the four that can chat: 0.6 / 0.95
    assert chosen.reason == "the policy prefers it with 63% of 4 candidates"


def test_preferences_are_masked_by_modality_and_by_the_rule_for_simulated_ones() -> None:
    row = [0.70, 0.10, 0.12, 0.01, 0.07]
    assert assign("look", probabilities=[row])[0].worker == "sim-eyes", "the favourite cannot see"
    favourite_simulated = [0.1, 0.2, 0.05, 0.65, 0.0]
    assert assign("write", probabilities=[favourite_simulated])[0].worker == "sim-free"
    assert assign("write", simulated="never", probabilities=[favourite_simulated])[0].worker == "cheap-slow"


def test_each_node_has_preferences_of_its_own() -> None:
    rows = [[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0]]
    assert [chosen.worker for chosen in assign("write", "write", probabilities=rows)] == [
        "dear",
        "cheap-slow",
    ]


def test_preferences_of_zero_for_all_candidates_still_choose_one() -> None:
    (chosen,) = assign("look", probabilities=[[1.0, 0.0, 0.0, 0.0, 0.0]])
    assert chosen.worker in ("sim-free", "sim-eyes")
    assert "50% of 2 candidates" in chosen.reason


def explore(seed: int, *task_types: str, simulated: Any = "allow") -> tuple[Assignment, ...]:
    return explore_workers(
        graph(*task_types),
        Instruction(text="x"),
        tasks=TASKS,
        workers=WORKERS,
        routing=RoutingConfig(simulated=simulated),
        rng=random.Random(seed),
    )


def test_exploring_is_fixed_by_the_generator() -> None:
    types = ("write",) * 8
    assert explore(3, *types) == explore(3, *types)
    assert explore(3, *types) != explore(4, *types)


def test_exploring_notes_the_exact_propensity() -> None:
    write, look, real = (*explore(1, "write", "look"), *explore(1, "write", simulated="never"))
    assert (write.propensity, look.propensity, real.propensity) == (1 / 4, 1 / 2, 1 / 3)


def test_exploring_draws_all_candidates_alike_and_no_others() -> None:
    drawn = Counter(explore(seed, "write")[0].worker for seed in range(400))
    assert set(drawn) == {"dear", "cheap-slow", "cheap-quick", "sim-free"}
    # 100 each is expected; the standard deviation is sqrt(400 * 1/4 * 3/4) = 8.7
    assert all(abs(count - 100) < 35 for count in drawn.values()), drawn


def test_exploring_does_not_invent_workers() -> None:
    with pytest.raises(NoWorkerError):
        explore(1, "listen")


GONE = Away("its breaker is open", 12.0)


def test_who_is_away_is_neither_chosen_nor_an_alternative() -> None:
    (given,) = assign_workers(
        graph("write"),
        Instruction(text="x"),
        tasks=TASKS,
        workers=WORKERS,
        routing=RoutingConfig(simulated="never"),
        away={"cheap-quick": GONE},
    )
    assert (given.worker, given.alternatives) == ("cheap-slow", ("dear",))


def test_simulated_workers_do_not_stand_in_for_real_ones_that_are_away() -> None:
    real = {name: GONE._replace(retry_after_s=number + 1.0) for number, name in enumerate(WORKERS.names[:3])}
    with pytest.raises(WorkersAwayError, match="'write' now, so nothing was run") as caught:
        candidates(TASKS["write"], WORKERS, RoutingConfig(simulated="fallback"), real)
    assert caught.value.retry_after_s == 1.0
    assert caught.value.reasons == dict.fromkeys(real, "its breaker is open")
    assert not is_retryable(caught.value), "at once it would be the same"
    assert [each.name for each in candidates(TASKS["write"], WORKERS, RoutingConfig(simulated="allow"), real)] == [
        "sim-free"
    ]
    with pytest.raises(NoWorkerError):
        candidates(TASKS["listen"], WORKERS, RoutingConfig(), real)


def test_a_kept_plan_takes_its_next_alternative_for_who_is_away() -> None:
    plan = graph("write", "write")
    kept = (
        Assignment(worker="dear", alternatives=("cheap-slow", "cheap-quick"), propensity=0.9),
        Assignment(worker="cheap-quick", propensity=0.8),
    )
    settings: dict[str, Any] = {"tasks": TASKS, "workers": WORKERS, "routing": RoutingConfig(simulated="never")}
    asked = Instruction(text="x")
    assert replace_away(plan, asked, kept, **settings, away={"sim-free": GONE}) == kept
    first, second = replace_away(plan, asked, kept, **settings, away={"dear": GONE})
    assert second == kept[1]
    assert (first.worker, first.alternatives) == ("cheap-slow", ("cheap-quick",))
    assert first.reason == "dear is away: its breaker is open"
    assert first.propensity == 1.0
    assert first.estimated_latency_ms == 900.0
    away = {"dear": GONE, "cheap-slow": GONE, "cheap-quick": GONE}
    with pytest.raises(WorkersAwayError):
        replace_away(plan, asked, kept, **settings, away=away)
