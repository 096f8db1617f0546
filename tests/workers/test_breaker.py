from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misbehaving import Exchange, MisbehavingServer, completion, request

from orchestai.config import BreakerConfig
from orchestai.contracts import WorkerCatalog, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import (
    BreakerOpenError,
    MalformedResponseError,
    RateLimitedError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
    is_retryable,
)
from orchestai.workers import BreakerState, CircuitBreaker, GuardedWorker, OpenAIWorker, WorkerLayer

PROFILE = WorkerProfile(name="w", description="d", model="m", typical_latency_ms=500)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock, changes: list[BreakerState] | None = None, **config: Any) -> CircuitBreaker:
    seen = changes if changes is not None else []
    return CircuitBreaker(
        "w", BreakerConfig(**config), clock=clock, on_change=lambda _worker, state: seen.append(state)
    )


def fail(guard: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        guard.admit().failed()


def test_it_opens_after_five_failures_in_a_row_and_half_opens_after_a_minute() -> None:
    clock, changes = Clock(), []
    guard = breaker(clock, changes)
    fail(guard, 4)
    guard.admit().succeeded()
    fail(guard, 4)
    assert guard.state is BreakerState.CLOSED, "a success in between starts the count anew"
    fail(guard, 1)
    assert guard.state is BreakerState.OPEN
    clock.now += 15
    with pytest.raises(BreakerOpenError, match=r"'w'.*45\.0 s") as caught:
        guard.admit()
    assert caught.value.retry_after_s == 45
    assert not is_retryable(caught.value), "another worker may help, waiting a few seconds does not"
    clock.now += 44.9
    assert guard.state is BreakerState.OPEN
    clock.now += 0.1
    assert guard.state is BreakerState.HALF_OPEN
    probe = guard.admit()
    assert probe.probe
    with pytest.raises(BreakerOpenError) as caught:
        guard.admit()
    assert caught.value.retry_after_s == 0
    probe.succeeded()
    assert guard.state is BreakerState.CLOSED
    fail(guard, 4)
    assert guard.state is BreakerState.CLOSED, "closing forgets the failures"
    assert changes == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]
    assert guard.snapshot().times_opened == 1


def test_a_failed_probe_opens_it_for_another_minute() -> None:
    clock, changes = Clock(), []
    guard = breaker(clock, changes)
    fail(guard, 5)
    clock.now += 60
    guard.admit().failed()
    assert guard.state is BreakerState.OPEN
    clock.now += 59
    assert guard.snapshot().retry_after_s == 1
    clock.now += 1
    guard.admit().succeeded()
    assert guard.state is BreakerState.CLOSED
    assert guard.snapshot().times_opened == 2


def test_an_abandoned_probe_leaves_the_next_call_to_probe() -> None:
    clock = Clock()
    guard = breaker(clock)
    fail(guard, 5)
    clock.now += 60
    first = guard.admit()
    first.abandoned()
    second = guard.admit()
    assert second.probe
    first.succeeded()  # told twice, and late: it is not the probe any more
    assert guard.state is BreakerState.HALF_OPEN
    with pytest.raises(BreakerOpenError):
        guard.admit()
    second.failed()
    assert guard.state is BreakerState.OPEN


def test_calls_from_before_the_opening_tell_nothing() -> None:
    clock = Clock()
    guard = breaker(clock)
    early = [guard.admit() for _ in range(8)]
    for call in early[:5]:
        call.failed()
    early[5].succeeded()
    assert guard.state is BreakerState.OPEN, "an old success does not close it"
    clock.now += 60
    probe = guard.admit()
    early[6].failed()
    early[7].succeeded()
    assert guard.state is BreakerState.HALF_OPEN
    with pytest.raises(BreakerOpenError):
        guard.admit()
    probe.succeeded()
    assert guard.state is BreakerState.CLOSED


def test_of_many_threads_one_probes() -> None:
    clock = Clock()
    guard = breaker(clock)
    for _ in range(20):
        fail(guard, 5)
        clock.now += 60
        start = threading.Barrier(16)
        passes = []

        def probe(start: threading.Barrier = start, passes: list[Any] = passes) -> None:
            start.wait()
            with suppress(BreakerOpenError):
                passes.append(guard.admit())

        threads = [threading.Thread(target=probe) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(passes) == 1
        passes[0].succeeded()


class Model:
    """The rules, written down plainly, for single calls that overlap at will."""

    def __init__(self, failures: int, open_s: float) -> None:
        self.limit, self.open_s = failures, open_s
        self.row = 0
        self.opened_at: float | None = None
        self.probe: object = None
        self.generation = 0

    def admits(self, now: float) -> bool:
        return self.opened_at is None or (now >= self.opened_at + self.open_s and self.probe is None)

    def start(self, call: object) -> int:
        if self.opened_at is not None:
            self.probe = call
        return self.generation

    def end(self, call: object, generation: int, outcome: str, now: float) -> None:
        if self.probe is call:
            self.probe = None
            if outcome == "failed":
                self.opened_at = now
            elif outcome == "succeeded":
                self.opened_at, self.row = None, 0
                self.generation += 1
        elif self.opened_at is None and generation == self.generation:
            if outcome == "failed":
                self.row += 1
            elif outcome == "succeeded":
                self.row = 0
            if self.row >= self.limit:
                self.opened_at = now
                self.generation += 1


STEPS = st.lists(
    st.one_of(
        st.just(("start", 0)),
        st.tuples(st.sampled_from(["failed", "failed", "failed", "succeeded", "abandoned"]), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.integers(1, 12)),
    ),
    max_size=80,
)


@given(steps=STEPS, failures=st.integers(1, 3))
def test_it_keeps_the_rules_in_any_order_of_events(steps: list[tuple[str, int]], failures: int) -> None:
    clock = Clock()
    guard = breaker(clock, failures=failures, open_s=10.0)
    model = Model(failures, 10.0)
    calls: list[tuple[Any, int]] = []
    for what, number in steps:
        if what == "wait":
            clock.now += number
        elif what == "start":
            admitted = model.admits(clock.now)
            if admitted:
                call = guard.admit()
                calls.append((call, model.start(call)))
                assert call.probe == (model.opened_at is not None)
            else:
                with pytest.raises(BreakerOpenError):
                    guard.admit()
        elif calls:
            call, generation = calls.pop(number % len(calls))
            model.end(call, generation, what, clock.now)
            getattr(call, what)()
        closed = guard.state is BreakerState.CLOSED
        assert closed == (model.opened_at is None)
        assert sum(call.probe for call, _ in calls) <= 1


class Scripted:
    def __init__(self, act: Callable[[], Any], profile: WorkerProfile = PROFILE) -> None:
        self.profile = profile
        self.act = act
        self.calls = 0

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        self.calls += 1
        result = self.act()
        if isinstance(result, BaseException):
            raise result
        if result is not None:
            await result
        return WorkerOutput(content="ok")

    async def aclose(self) -> None:
        pass


def unavailable() -> WorkerError:
    return WorkerUnavailableError("down", worker="w")


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (unavailable(), True),
        (RateLimitedError("slow", worker="w"), True),
        (WorkerTimeoutError("late", worker="w"), True),
        (MalformedResponseError("broken", worker="w"), True),
        (MalformedResponseError("not JSON", worker="w", answer="hm"), False),
        (WorkerAuthError("key", worker="w"), False),
        (WorkerRequestError("no", worker="w"), False),
        (ZeroDivisionError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_which_errors_count(error: Exception, counts: bool) -> None:
    worker = GuardedWorker(Scripted(lambda: error), breaker(Clock()))
    for _ in range(5):
        with pytest.raises(type(error)):
            await worker.run(request())
    assert (worker.breaker.state is BreakerState.OPEN) == counts


async def test_a_caller_in_a_hurry_proves_nothing() -> None:
    worker = GuardedWorker(Scripted(lambda: WorkerTimeoutError("late", worker="w")), breaker(Clock()))
    for timeout_s, state in ((0.1, BreakerState.CLOSED), (0.5, BreakerState.OPEN)):
        for _ in range(5):
            with pytest.raises(WorkerTimeoutError):
                await worker.run(request(timeout_s=timeout_s))
        assert worker.breaker.state is state


@pytest.mark.parametrize(("took_s", "state"), [(3.0, BreakerState.CLOSED), (9.9, BreakerState.OPEN)])
async def test_cancelled_by_a_limit_of_the_callers_own(took_s: float, state: BreakerState) -> None:
    clock = Clock()
    never = asyncio.Event()
    inner = Scripted(never.wait, PROFILE.model_copy(update={"timeout_s": 10.0}))
    worker = GuardedWorker(inner, breaker(clock), clock=clock)
    for _ in range(5):
        task = asyncio.create_task(worker.run(request()))
        await asyncio.sleep(0)
        clock.now += took_s
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert worker.breaker.state is state


async def test_of_a_stampede_one_call_probes_also_when_it_is_cancelled() -> None:
    clock = Clock()
    go_on = asyncio.Event()
    inner = Scripted(unavailable)
    worker = GuardedWorker(inner, breaker(clock))
    for _ in range(5):
        with pytest.raises(WorkerUnavailableError):
            await worker.run(request())
    clock.now += 60
    inner.calls = 0
    inner.act = go_on.wait

    async def stampede() -> list[asyncio.Task[WorkerOutput]]:
        tasks = [asyncio.create_task(worker.run(request())) for _ in range(64)]
        await asyncio.sleep(0)
        return tasks

    first = await stampede()
    assert inner.calls == 1
    refused = [task for task in first if task.done()]
    assert len(refused) == 63
    assert all(isinstance(task.exception(), BreakerOpenError) for task in refused)
    (probe,) = [task for task in first if not task.done()]
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert worker.breaker.state is BreakerState.HALF_OPEN
    second = await stampede()
    assert inner.calls == 2, "the next one probes, and only one"
    go_on.set()
    outcomes = await asyncio.gather(*second, return_exceptions=True)
    assert sum(isinstance(outcome, WorkerOutput) for outcome in outcomes) == 1
    assert worker.breaker.state is BreakerState.CLOSED
    assert all(isinstance(output, WorkerOutput) for output in await asyncio.gather(*await stampede()))


async def test_a_stream_ends_its_pass_however_it_ends() -> None:
    clock = Clock()
    inner = Scripted(unavailable)
    worker = GuardedWorker(inner, breaker(clock, failures=2))
    for _ in range(2):
        with pytest.raises(WorkerUnavailableError):
            _ = [item async for item in worker.stream(request())]
    with pytest.raises(BreakerOpenError):
        _ = [item async for item in worker.stream(request())]
    clock.now += 60
    inner.act = lambda: None
    async with aclosing(worker.stream(request())) as items:
        assert await anext(items) == "ok"
        with pytest.raises(BreakerOpenError):
            await worker.run(request())
    assert worker.breaker.state is BreakerState.HALF_OPEN, "left in the middle: nothing is known"
    items_seen = [item async for item in worker.stream(request())]
    assert isinstance(items_seen[-1], WorkerOutput)
    assert worker.breaker.state is BreakerState.CLOSED


async def test_a_dead_endpoint_is_left_alone_and_found_again(server: MisbehavingServer) -> None:
    """The whole way: a real server that resets, falls silent, and comes back."""

    async def dead(exchange: Exchange) -> None:
        exchange.reset()

    async def well(exchange: Exchange) -> None:
        await exchange.send_json(completion())

    server.script = dead
    profile = PROFILE.model_copy(update={"base_url": server.base_url})
    clock = Clock()
    worker = GuardedWorker(OpenAIWorker(profile, base_url=server.base_url), breaker(clock))
    for _ in range(5):
        with pytest.raises(WorkerUnavailableError):
            await worker.run(request())
    for _ in range(20):
        with pytest.raises(BreakerOpenError):
            await worker.run(request())
    assert len(server.requests) == 5
    clock.now += 60
    server.script = well
    outcomes = await asyncio.gather(*(worker.run(request()) for _ in range(32)), return_exceptions=True)
    assert sum(isinstance(outcome, WorkerOutput) for outcome in outcomes) == 1
    assert len(server.requests) == 6
    assert (await worker.run(request())).content == "Paris"
    await worker.aclose()


async def test_the_layer_guards_each_worker_and_keeps_its_breaker(server: MisbehavingServer) -> None:
    async def dead(exchange: Exchange) -> None:
        exchange.reset()

    server.script = dead
    profiles = tuple(
        WorkerProfile(name=name, description="d", model="m", base_url=server.base_url, max_concurrency=2)
        for name in ("a", "b")
    )
    changes: list[tuple[str, BreakerState]] = []
    layer = WorkerLayer(
        WorkerCatalog(workers=profiles),
        breaker=BreakerConfig(failures=2),
        on_breaker=lambda name, state: changes.append((name, state)),
    )
    for _ in range(2):
        with pytest.raises(WorkerUnavailableError):
            await layer["a"].run(request())
    await layer.aclose()
    with pytest.raises(BreakerOpenError):
        await layer["a"].run(request())
    with pytest.raises(WorkerUnavailableError):
        await layer["b"].run(request())
    await layer.aclose()
    assert changes == [("a", BreakerState.OPEN)]
    assert {name: guard.state.value for name, guard in layer.breakers.items()} == {"a": "open", "b": "closed"}
    assert WorkerLayer(WorkerCatalog(workers=profiles), breaker=BreakerConfig(enabled=False)).breakers == {}


def test_a_watcher_may_open_it_and_the_probe_that_answers_must_pass() -> None:
    now = [0.0]
    breaker = CircuitBreaker("w", BreakerConfig(open_s=10.0), clock=lambda: now[0])
    late = breaker.admit()
    breaker.trip("too slow", for_s=25.0)
    breaker.trip("again", for_s=1.0)
    late.succeeded()
    assert breaker.snapshot().reason == "too slow"
    assert breaker.snapshot().retry_after_s == 25.0
    now[0] = 25.0
    breaker.admit().failed()
    assert breaker.snapshot().retry_after_s == 25.0, "a probe that fails keeps it away as long again"
    now[0] = 50.0
    breaker.admit().succeeded()
    assert (breaker.state, breaker.snapshot().reason) == (BreakerState.CLOSED, None)
    for _ in range(5):
        breaker.admit().failed()
    assert breaker.snapshot().retry_after_s == 10.0, "by itself it opens as configured"
