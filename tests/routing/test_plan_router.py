"""The router on live plans: predictions, abstention to rules, limits, and the exploration floor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from orchestai.config import RoutingConfig
from orchestai.config.training import RouterConfig
from orchestai.contracts import (
    Assignment,
    Budget,
    Instruction,
    Subtask,
    TaskCatalog,
    TaskType,
    WorkerCatalog,
    WorkerProfile,
    WorkflowGraph,
)
from orchestai.errors import InfeasibleError, InputError, WorkersAwayError
from orchestai.routing.assign import NOBODY_AWAY, Away, assign_workers
from orchestai.routing.limits import keep_limits
from orchestai.routing.model import RouterModel
from orchestai.routing.plan_router import PlanRouter
from orchestai.training.router import RouterData, train_router
from tests.routing.world import USD, WIDTH, WORKERS, world

TASKS = TaskCatalog(types=(TaskType(name="answer", description="Answer.", max_output_tokens=100),))
DATA = world(90, seed=5)


def typical(kind: str) -> str:
    """The text nearest to the middle of its kind."""
    rows = np.flatnonzero(np.array(DATA.table.families) == kind)
    middle = DATA.embeddings[rows].mean(0)
    return DATA.table.texts[rows[(DATA.embeddings[rows] @ middle).argmax()]]


CODE, TRIVIA, MATHS = (typical(kind) for kind in ("code", "trivia", "maths"))


def profile(name: str, usd: float, latency_ms: float = 1000.0, effects: bool = False) -> WorkerProfile:
    return WorkerProfile(
        name=name,
        description=name,
        model=name,
        output_usd_per_mtok=1e4 * usd,
        typical_latency_ms=latency_ms,
        external_effects=effects,
    )


CATALOG = WorkerCatalog(workers=tuple(profile(name, usd) for name, usd in zip(WORKERS, USD, strict=True)))


class Known:
    """Embeds the texts of the world as the world does, and a worker's description as its own axis."""

    def __init__(self, data: RouterData) -> None:
        self.rows = {text.strip(): row for text, row in zip(data.table.texts, data.embeddings, strict=True)}
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.calls += 1
        axis = np.eye(len(WORKERS), WIDTH)[WORKERS.index("coder")]
        return np.array([self.rows.get(text, axis) for text in texts], dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> RouterModel:
    return train_router(world(), RouterConfig(folds=3, epochs=4, batch_size=32, seed=1))


def assign(
    model: RouterModel,
    *texts: str,
    budget: Budget | None = None,
    execution_id: str | None = None,
    catalog: WorkerCatalog = CATALOG,
    parents: tuple[tuple[int, ...], ...] | None = None,
    away: Mapping[str, Away] = NOBODY_AWAY,
    **routing: object,
) -> tuple[Assignment, ...]:
    config = RoutingConfig.model_validate({"prefer": "success", "exploration": 0.0, **routing})
    nodes = tuple(Subtask(task_type="answer", description=text) for text in texts)
    graph = WorkflowGraph(nodes=nodes, dependencies=parents or tuple(() for _ in nodes))
    instruction = Instruction(text=texts[0], budget=budget or Budget())
    return PlanRouter(model, Known(DATA), catalog, config, version="v").assign(
        graph,
        instruction,
        tasks=TASKS,
        catalog=catalog,
        fallback=assign_workers(graph, instruction, tasks=TASKS, workers=catalog, routing=config),
        execution_id=execution_id,
        away=away,
    )


def test_each_subtask_goes_to_its_specialist_with_what_is_expected(model: RouterModel) -> None:
    code, maths = assign(model, CODE, MATHS)
    assert (code.worker, maths.worker) == ("coder", "mathematician")
    assert code.propensity == maths.propensity == 1.0
    for each in (code, maths):
        assert each.predicted_success is not None
        assert each.predicted_success > 0.8
        # 100 tokens at most, at $80 a million: $0.008; no length was ever measured, so that is expected too.
        assert each.estimated_cost_usd == pytest.approx(0.008)
        assert each.predicted_cost_usd == pytest.approx(0.008)
        assert each.estimated_latency_ms == 1000.0
        assert each.worker not in each.alternatives


def test_one_plan_is_read_at_once(model: RouterModel) -> None:
    encoder = Known(DATA)
    router = PlanRouter(model, encoder, CATALOG, RoutingConfig(), version="v")
    before = encoder.calls
    graph = WorkflowGraph.chain(tuple(Subtask(task_type="answer", description=text) for text in (CODE, MATHS, TRIVIA)))
    instruction = Instruction(text=CODE)
    fallback = assign_workers(graph, instruction, tasks=TASKS, workers=CATALOG, routing=RoutingConfig())
    router.assign(graph, instruction, tasks=TASKS, catalog=CATALOG, fallback=fallback, execution_id="e")
    assert encoder.calls == before + 1


def test_thrift_saves_where_the_cheap_one_does(model: RouterModel) -> None:
    thrifty = model.policy.model_copy(update={"thrifty_weight": 0.5})
    (trivia,) = assign(_with_policy(model, thrifty), TRIVIA, prefer="thrift")
    (sure,) = assign(_with_policy(model, thrifty), TRIVIA, prefer="success")
    assert (trivia.worker, sure.worker) == ("cheap", "generalist")


def test_workers_without_any_record_are_left_to_the_rule(model: RouterModel) -> None:
    strangers = WorkerCatalog(workers=(profile("dear", 0.02), profile("new", 0.01)))
    (found,) = assign(model, CODE, catalog=strangers, execution_id="e", exploration=1.0)
    assert (found.worker, found.predicted_success, found.propensity) == ("new", None, 1.0)
    assert "cheapest of 2" in found.reason


def test_a_new_worker_is_judged_by_its_description(model: RouterModel) -> None:
    # Its description is the coder's, and it costs an eighth: with thrift it takes the coder's place.
    catalog = WorkerCatalog(workers=(*CATALOG.workers, profile("new", 0.001)))
    thrifty = _with_policy(model, model.policy.model_copy(update={"thrifty_weight": 0.3}))
    (found,) = assign(thrifty, CODE, catalog=catalog, prefer="thrift")
    assert found.worker == "new"
    assert found.predicted_success is not None
    assert found.predicted_success > 0.7


def test_a_budget_buys_the_most_success(model: RouterModel) -> None:
    # $.018 buys one specialist at .008 and not two beside a .001 one... .008 + .008 = .016 does.
    both = assign(model, CODE, MATHS, budget=Budget(usd=0.018))
    assert [each.worker for each in both] == ["coder", "mathematician"]
    one = assign(model, CODE, MATHS, budget=Budget(usd=0.012))
    assert sorted(each.worker == "cheap" for each in one) == [False, True]
    assert sum(each.estimated_cost_usd for each in one) <= 0.012
    assert "limits" in next(each.reason for each in one if each.worker == "cheap")


def test_a_success_target_takes_the_cheapest_plan_that_promises_it(model: RouterModel) -> None:
    (easy,) = assign(model, CODE, budget=Budget(min_success=0.15))
    assert easy.worker == "cheap"
    (hard,) = assign(model, CODE, budget=Budget(min_success=0.8))
    assert hard.worker == "coder"


def test_what_cannot_be_is_refused_and_the_cheapest_is_named(model: RouterModel) -> None:
    with pytest.raises(InfeasibleError, match=r"\$0\.002000, the cheapest feasible \(cheap, cheap\)") as caught:
        assign(model, CODE, MATHS, budget=Budget(usd=0.0015))
    assert caught.value.cheapest_names == ("cheap", "cheap")
    with pytest.raises(InfeasibleError, match="success target of"):
        assign(model, CODE, MATHS, budget=Budget(min_success=0.999))


def test_the_critical_path_is_kept_also_where_children_stand_before_parents(model: RouterModel) -> None:
    quick = WorkerCatalog(
        workers=tuple(
            each.model_copy(update={"typical_latency_ms": 100.0}) if each.name == "cheap" else each
            for each in CATALOG.workers
        )
    )
    # Node 0 waits for node 1: 1,000 + 1,000 ms in a row, 1,100 with one quick worker.
    found = assign(model, CODE, MATHS, catalog=quick, budget=Budget(max_latency_s=1.5), parents=((1,), ()))
    assert Counter(each.worker == "cheap" for each in found) == {True: 1, False: 1}
    apart = assign(model, CODE, MATHS, catalog=quick, budget=Budget(max_latency_s=1.5))
    assert [each.worker for each in apart] == ["coder", "mathematician"]


def test_exploration_is_rare_exact_and_the_same_again(model: RouterModel) -> None:
    share = 0.3
    routing = {"exploration": share, "exploration_margin": 0.95}
    drawn = [assign(model, CODE, MATHS, execution_id=f"e{n}", **routing) for n in range(400)]
    for node in (0, 1):
        counts = Counter(each[node].worker for each in drawn)
        expected = drawn[0][node].propensities
        # Nobody dearer than the best single worker is there: all four are eligible.
        assert sum(expected.values()) == pytest.approx(1.0)
        assert sorted(expected.values()) == pytest.approx([share / 4] * 3 + [1 - share + share / 4])
        for worker, chance in expected.items():
            # Four standard errors of 400 draws.
            assert abs(counts[worker] / 400 - chance) < 4 * (chance * (1 - chance) / 400) ** 0.5, worker
        assert all(each[node].propensity == each[node].propensities[each[node].worker] for each in drawn)
    again = [assign(model, CODE, MATHS, execution_id=f"e{n}", **routing) for n in range(20)]
    assert again == drawn[:20]
    assert any(one.worker != two.worker for one, two in zip(*zip(*drawn, strict=True), strict=True)), "drawn apart"


def test_nothing_is_left_to_chance_outside_an_execution(model: RouterModel) -> None:
    (found,) = assign(model, CODE, exploration=1.0, exploration_margin=1.0)
    assert found.propensity == 1.0


def test_chance_keeps_to_quality_budget_and_harmless_workers(model: RouterModel) -> None:
    (narrow,) = assign(model, CODE, execution_id="e", exploration=1.0, exploration_margin=0.1)
    assert set(narrow.propensities) == {"coder"}, "the others are worse by more than a tenth"
    thrifty = _with_policy(model, model.policy.model_copy(update={"thrifty_weight": 0.5}))
    (tight,) = assign(
        thrifty, TRIVIA, execution_id="e", exploration=1.0, exploration_margin=1.0, prefer="thrift",
        budget=Budget(usd=0.0085),
    )  # fmt: skip
    assert set(tight.propensities) == {"cheap", "coder", "mathematician"}, "the generalist costs $.01"
    sending = WorkerCatalog(
        workers=tuple(profile(each.name, usd, effects=each.name == "cheap") for each, usd in zip(CATALOG.workers, USD))  # noqa: B905
    )
    (harmless,) = assign(model, CODE, execution_id="e", exploration=1.0, exploration_margin=1.0, catalog=sending)
    assert "cheap" not in harmless.propensities


def test_all_subtasks_may_explore_and_the_plan_still_keeps_its_limits(model: RouterModel) -> None:
    thrifty = _with_policy(model, model.policy.model_copy(update={"thrifty_weight": 0.9}))
    for number in range(200):
        found = assign(
            thrifty, TRIVIA, TRIVIA, TRIVIA, execution_id=f"e{number}", exploration=1.0, exploration_margin=1.0,
            prefer="thrift", budget=Budget(usd=0.02),
        )  # fmt: skip
        assert sum(each.estimated_cost_usd for each in found) <= 0.02 + 1e-12


def test_without_a_router_limits_hold_by_the_estimates() -> None:
    catalog = WorkerCatalog(workers=(profile("slow", 0.001, 5000), profile("quick", 0.01, 100)))
    routing = RoutingConfig()
    graph = WorkflowGraph.chain((Subtask(task_type="answer"), Subtask(task_type="answer")))

    def keep(budget: Budget) -> list[str]:
        instruction = Instruction(text="Do it", budget=budget)
        preferred = assign_workers(graph, instruction, tasks=TASKS, workers=catalog, routing=routing)
        found = keep_limits(graph, instruction, preferred, tasks=TASKS, workers=catalog, routing=routing)
        return [each.worker for each in found]

    assert keep(Budget()) == ["slow", "slow"]
    assert sorted(keep(Budget(max_latency_s=6))) == ["quick", "slow"]
    assert keep(Budget(max_latency_s=1)) == ["quick", "quick"]
    with pytest.raises(InfeasibleError, match="200 ms"):
        keep(Budget(max_latency_s=0.1))
    with pytest.raises(InfeasibleError, match=r"0\.011000, the cheapest feasible"):
        keep(Budget(max_latency_s=6, usd=0.005))
    with pytest.raises(InputError, match="train router"):
        keep(Budget(min_success=0.5))


def _with_policy(model: RouterModel, policy: object) -> RouterModel:
    from dataclasses import replace

    return replace(model, policy=policy)  # type: ignore[arg-type]


def test_who_is_away_is_neither_chosen_nor_drawn(model: RouterModel) -> None:
    gone = {"coder": Away("its breaker is open", 3.0)}
    for number in range(40):
        (given,) = assign(model, CODE, execution_id=f"e-{number}", exploration=0.5, exploration_margin=1.0, away=gone)
        assert "coder" not in {given.worker, *given.alternatives, *(given.propensities or {})}
        assert sum((given.propensities or {}).values()) == pytest.approx(1.0)
    with pytest.raises(WorkersAwayError):
        assign(model, CODE, away=dict.fromkeys(WORKERS, gone["coder"]))
