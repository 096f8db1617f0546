"""What executions, plans and parts of the system do to the metrics; numbers are derived by hand."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestai.config import BreakerConfig, LimitsConfig, Project, RoutingConfig
from orchestai.contracts import AcceptanceCheck, Assignment, Instruction, Plan, WorkerOutput, WorkerRequest
from orchestai.engine.execution import Stop
from orchestai.errors import ApprovalNeededError, OverloadedError, StorageError, WorkerUnavailableError
from orchestai.planner.planner import HybridPlanner, LearnedProposal
from orchestai.planner.rules import RulesPlanner
from orchestai.planner.spending import Spending
from orchestai.reflex.counters import ReflexCounters
from orchestai.telemetry import NoTelemetry, Telemetry
from orchestai.telemetry.reasons import error_code, fallback_reasons
from orchestai.telemetry.sources import LimiterReading, QueueReading
from orchestai.workers.breaker import CircuitBreaker
from orchestai.workers.limiter import TenantLimiter
from tests.engine.scripted import ScriptedWorker, answer, make_plan
from tests.telemetry.harness import INSTRUCTION, run_watched, samples, value

WORK = {"task_type": "generation"}


def failing(times: int, error: Exception) -> Any:
    """Return a behaviour that fails so often before it answers."""
    calls = 0

    async def run(_request: WorkerRequest) -> WorkerOutput:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise error
        return WorkerOutput(content="late", cost=0.25, metadata={"input_tokens": 3, "output_tokens": 4})

    return run


async def test_an_execution_moves_what_belongs_to_it(project: Project, metered: Telemetry) -> None:
    workers = {
        "w0": ScriptedWorker("w0", answer("A", cost=0.5, tokens=10)),
        "w1": ScriptedWorker("w1", failing(2, WorkerUnavailableError("down", worker="w1"))),
    }
    for _ in range(2):
        workers["w1"].behaviour = failing(2, WorkerUnavailableError("down", worker="w1"))
        await run_watched(metered, project, workers, make_plan(((), (0,))))
    assert value(metered, "executions_total", status="succeeded", planner="given") == 2
    assert value(metered, "execution_seconds_count", planner="given") == 2
    assert value(metered, "execution_cost_usd_total", planner="given") == pytest.approx(2 * 0.75)
    assert value(metered, "executions_running") == 0
    for worker, attempts, retries, tokens, cost in (("w0", 2, 0, 20, 1.0), ("w1", 6, 4, 6, 0.5)):
        assert value(metered, "subtasks_total", **WORK, worker=worker, status="done") == 2
        assert value(metered, "subtask_attempts_total", **WORK, worker=worker) == attempts
        assert value(metered, "subtask_retries_total", **WORK, worker=worker) == retries
        assert value(metered, "subtask_tokens_total", **WORK, worker=worker, direction="input") == tokens
        assert value(metered, "subtask_cost_usd_total", **WORK, worker=worker) == pytest.approx(cost)
        assert value(metered, "subtask_seconds_count", **WORK, worker=worker) == 2
    assert value(metered, "subtask_tokens_total", **WORK, worker="w1", direction="output") == 8


async def test_a_worker_that_is_given_up_is_counted(project: Project, metered: Telemetry) -> None:
    plan = make_plan(((),))
    plan = plan.model_copy(update={"assignments": (Assignment(worker="w0", alternatives=("w1",)),)})
    workers = {
        "w0": ScriptedWorker("w0", failing(9, WorkerUnavailableError("down", worker="w0"))),
        "w1": ScriptedWorker("w1", answer("B")),
    }
    await run_watched(metered, project, workers, plan)
    assert value(metered, "worker_given_up_total", worker="w0") == 1
    assert value(metered, "subtasks_total", **WORK, worker="w1", status="done") == 1
    assert value(metered, "subtask_attempts_total", **WORK, worker="w1") == 4


async def test_failed_and_skipped_sub_tasks(project: Project, metered: Telemetry) -> None:
    workers = {
        "w0": ScriptedWorker("w0", failing(9, WorkerUnavailableError("down", worker="w0"))),
        "w1": ScriptedWorker("w1", answer("never")),
    }
    await run_watched(metered, project, workers, make_plan(((), (0,))))
    assert value(metered, "executions_total", status="failed", planner="given") == 1
    assert value(metered, "subtask_failures_total", worker="w0", code="worker_unavailable") == 1
    assert value(metered, "subtasks_total", **WORK, worker="w1", status="skipped") == 1
    assert value(metered, "subtask_seconds_count", **WORK, worker="w1") == 0, "what never ran has no latency"


async def test_an_answer_that_is_not_accepted(project: Project, metered: Telemetry) -> None:
    instruction = Instruction(text="x", acceptance=(AcceptanceCheck(kind="contains", value="yes"),))
    worker = ScriptedWorker("w0", answer("no"))
    await run_watched(metered, project, {"w0": worker}, make_plan(((),)), instruction=instruction)
    assert value(metered, "executions_total", status="not_accepted", planner="given") == 1


async def test_a_stopped_execution_is_cancelled(project: Project, metered: Telemetry) -> None:
    stop = Stop()
    stop.request()
    worker = ScriptedWorker("w0", answer("A", after_s=5))
    await run_watched(metered, project, {"w0": worker}, make_plan(((),)), stop=stop)
    assert value(metered, "executions_total", status="cancelled", planner="given") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (ApprovalNeededError("e", "why", 0.0), "waiting"),
        (StorageError("full", path="/x"), "error"),
        (KeyError("bug"), "error"),
    ],
)
def test_an_execution_that_ends_without_a_result(metered: Telemetry, error: BaseException, status: str) -> None:
    def watched() -> None:
        with metered.execution("e", INSTRUCTION):
            assert value(metered, "executions_running") == 1
            raise error

    with pytest.raises(type(error)):
        watched()
    assert value(metered, "executions_running") == 0
    assert value(metered, "executions_total", status=status, planner="none") == 1


async def test_only_plans_made_now_are_counted(project: Project, metered: Telemetry) -> None:
    plan = make_plan(((),)).model_copy(update={"planner": "learned", "confidence": 0.93, "latency_ms": 7.0})
    workers = {"w0": ScriptedWorker("w0", answer("A"))}
    await run_watched(metered, project, workers, plan, given=True)
    assert value(metered, "plans_total", planner="learned") is None
    assert value(metered, "executions_total", status="succeeded", planner="learned") == 1
    await run_watched(metered, project, workers, plan)
    assert value(metered, "plans_total", planner="learned") == 1
    assert value(metered, "planning_seconds_sum", planner="learned") == pytest.approx(0.007)
    assert value(metered, "plan_confidence_bucket", planner="learned", le="0.9") == 0
    assert value(metered, "plan_confidence_bucket", planner="learned", le="0.95") == 1


async def test_the_planners_own_words_are_understood(project: Project, metered: Telemetry) -> None:
    """Real texts of the composition: if it changes its words, this fails."""

    class Unsure:
        model_version = "v"

        def propose(self, instruction: Instruction) -> LearnedProposal:
            plan = RulesPlanner(project.tasks).plan_graph(instruction)
            return LearnedProposal(plan, 0.1, [[1.0] * len(project.workers)] * len(plan))

    class Broken:
        async def plan_graph(self, _instruction: Instruction, _spending: Spending) -> None:
            raise WorkerUnavailableError("down; LLM planner: no plan within reach", worker="llm")

    class Slow:
        async def plan_graph(self, _instruction: Instruction, _spending: Spending) -> None:
            await asyncio.sleep(60)

    async def plan(llm: Any) -> Plan:
        planner = HybridPlanner(
            tasks=project.tasks,
            workers=project.workers,
            routing=RoutingConfig(simulated="allow"),
            rules=RulesPlanner(project.tasks),
            learned=Unsure(),
            llm=llm,
        )
        return await planner.plan(Instruction(text="Summarize it", budget={"seconds": 0.05}))

    assert fallback_reasons((await plan(Broken())).fallback_reason)[:2] == ["learned_unsure", "llm_failed"]
    slow = await plan(Slow())
    assert fallback_reasons(slow.fallback_reason) == ["learned_unsure", "llm_too_slow"]
    with metered.execution("e", INSTRUCTION) as watch:
        watch.planned(slow)
    assert value(metered, "planner_fallbacks_total", reason="llm_too_slow") == 1
    assert value(metered, "planner_fallbacks_total", reason="learned_unsure") == 1


def test_free_texts_become_few_words() -> None:
    assert fallback_reasons(None) == []
    assert fallback_reasons("the moon is full") == ["other"]
    assert error_code("rate_limited: 429 from the worker") == "rate_limited"
    assert error_code("a sub-task that it depends on failed") == "other"
    assert error_code(None) == "other"


def test_breakers_are_asked_when_metrics_are_read(metered: Telemetry) -> None:
    breaker = CircuitBreaker("w0", BreakerConfig(failures=1))
    metered.sources.breakers = lambda: [breaker.snapshot()]
    assert value(metered, "breaker_state", worker="w0", state="closed") == 1
    breaker.admit().failed()
    assert value(metered, "breaker_state", worker="w0", state="closed") == 0
    assert value(metered, "breaker_state", worker="w0", state="open") == 1
    assert value(metered, "breaker_opened_total", worker="w0") == 1


def test_reflex_counts_are_sorted_into_their_metrics(metered: Telemetry) -> None:
    counters = ReflexCounters()
    for name, count in {
        "hit": 3,
        "near_hit": 1,
        "passthrough": 7,
        "blocked": 2,
        "blocked.injection": 2,
        "pii.EMAIL": 4,
        "secret.aws": 1,
        "injection.gated": 1,
        "stored": 5,
        "not_stored": 6,
    }.items():
        counters.add(name, count)
    metered.sources.reflex = counters.snapshot
    assert value(metered, "reflex_verdicts_total", kind="hit") == 3
    assert value(metered, "reflex_verdicts_total", kind="passthrough") == 7
    assert value(metered, "reflex_verdicts_total", kind="blocked") == 2
    assert value(metered, "reflex_blocked_total", reason="injection") == 2
    assert value(metered, "reflex_findings_total", kind="pii.EMAIL") == 4
    assert value(metered, "reflex_findings_total", kind="injection.gated") == 1
    assert value(metered, "reflex_cache_writes_total", outcome="refused") == 6
    kinds = {dict(labels)["kind"] for name, labels in samples(metered) if name == "orchestai_reflex_verdicts_total"}
    assert kinds == {"hit", "near_hit", "passthrough", "blocked"}


def test_limits_queues_and_events(metered: Telemetry) -> None:
    metered.sources.limits = lambda: [LimiterReading("w0", running=2, waiting=5)]
    metered.sources.queues = lambda: [QueueReading("coder", "dead", 1)]
    metered.sources.events_dropped = lambda: {"ui": 9}
    metered.limiter_waited("w0", 0.2)
    metered.limiter_rejected("w0")
    assert value(metered, "limiter_calls", worker="w0", state="waiting") == 5
    assert value(metered, "limiter_wait_seconds_sum", worker="w0") == pytest.approx(0.2)
    assert value(metered, "limiter_rejections_total", worker="w0") == 1
    assert value(metered, "queue_messages", to="coder", state="dead") == 1
    assert value(metered, "events_dropped_total", subscriber="ui") == 9


async def test_waiting_for_a_real_limiter_is_measured(metered: Telemetry) -> None:
    limiter = TenantLimiter({"w0": 1}, LimitsConfig(max_waiting=1))
    slots = metered.slots(limiter.slot)
    assert NoTelemetry().slots(limiter.slot) == limiter.slot

    async def hold(seconds: float) -> None:
        async with slots("acme", "w0"):
            await asyncio.sleep(seconds)

    first, second = asyncio.create_task(hold(0.05)), asyncio.create_task(hold(0))
    await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError):
        await hold(0)
    await asyncio.gather(first, second)
    assert value(metered, "limiter_rejections_total", worker="w0") == 1
    assert value(metered, "limiter_wait_seconds_count", worker="w0") == 2
    assert 0.03 < (value(metered, "limiter_wait_seconds_sum", worker="w0") or 0) < 2
    assert limiter.running("w0") == 0


def test_log_and_store(metered: Telemetry) -> None:
    metered.log_written(3, 900, 0.004)
    metered.log_failed()
    metered.store_committed(12, 0.002)
    assert value(metered, "log_records_total") == 3
    assert value(metered, "log_bytes_total") == 900
    assert value(metered, "log_sync_seconds_bucket", le="0.0025") == 0
    assert value(metered, "log_sync_seconds_bucket", le="0.005") == 1
    assert value(metered, "log_errors_total") == 1
    assert value(metered, "store_writes_total") == 12
    assert value(metered, "store_commit_seconds_count") == 1


def test_only_the_model_in_use_is_shown(metered: Telemetry) -> None:
    metered.model_in_use("phase1", "a", 100.0, {"node_f1": 0.8, "ece": 0.1})
    metered.model_in_use("router", "r", 50.0)
    metered.model_in_use("phase1", "b", 200.0, {"node_f1": 0.9})
    assert value(metered, "model_trained_timestamp_seconds", model="phase1", version="b") == 200
    assert value(metered, "model_trained_timestamp_seconds", model="phase1", version="a") is None
    assert value(metered, "model_trained_timestamp_seconds", model="router", version="r") == 50
    assert value(metered, "model_quality", model="phase1", metric="node_f1") == 0.9
    assert value(metered, "model_quality", model="phase1", metric="ece") is None


def test_a_source_that_fails_leaves_only_its_own_out(metered: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise RuntimeError("no loop")

    metered.sources.limits = broken
    metered.sources.breakers = lambda: [SimpleNamespace(worker="w", state="open", times_opened=1)]
    assert value(metered, "breaker_state", worker="w", state="open") == 1
    assert value(metered, "executions_running") == 0
    assert "a source failed" in caplog.text


def test_two_of_a_process_do_not_mix(metered: Telemetry) -> None:
    from orchestai.config import TelemetryConfig
    from orchestai.telemetry import open_telemetry
    from tests.telemetry.harness import settings

    other = open_telemetry(TelemetryConfig(), settings())
    metered.log_written(1, 10, 0.001)
    assert value(metered, "log_records_total") == 1
    assert value(other, "log_records_total") == 0


def test_many_threads_lose_nothing(metered: Telemetry) -> None:
    def work() -> None:
        for _ in range(500):
            metered.log_written(1, 2, 0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metered, "log_records_total") == 2000
    assert value(metered, "log_sync_seconds_count") == 2000


def test_the_form_follows_the_reader(metered: Telemetry) -> None:
    body, content_type = metered.render()
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in body
    body, content_type = metered.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
