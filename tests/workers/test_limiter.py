from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misbehaving import Exchange, MisbehavingServer, completion, request

from orchestai.config import LimitsConfig
from orchestai.contracts import WorkerCatalog, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import OverloadedError, ResourceLimitError
from orchestai.workers import LimitedWorker, TenantLimiter, WorkerLayer


class Hall:
    """Callers that hold their slot until they are told to leave, in the order in which they got it."""

    def __init__(self, limiter: TenantLimiter) -> None:
        self.limiter = limiter
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    def come(self, name: str, worker: str = "w") -> None:
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._visit(name, worker))

    async def _visit(self, name: str, worker: str) -> None:
        async with self.limiter.slot(name[0], worker):
            self.order.append(name)
            await self._leave[name].wait()

    async def leave(self, name: str) -> None:
        self._leave[name].set()
        await self.tasks[name]
        await settle()

    async def run_to_the_end(self) -> None:
        position = 0
        await settle()
        while position < len(self.order):
            await self.leave(self.order[position])
            position += 1
        done = [task for task in self.tasks.values() if not task.cancelled()]
        assert all(task.done() for task in done), "nobody may be forgotten"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_tenants_take_turns_and_each_is_served_in_order() -> None:
    hall = Hall(TenantLimiter({"w": 1}))
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        hall.come(name)
    await hall.run_to_the_end()
    assert hall.order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert hall.limiter.running("w") == hall.limiter.waiting("w") == 0


async def test_a_flood_of_one_tenant_delays_another_by_one_call() -> None:
    hall = Hall(TenantLimiter({"w": 2}))
    for number in range(50):
        hall.come(f"a{number}")
    await settle()
    hall.come("b")
    await settle()
    await hall.leave("a0")
    await hall.leave("a1")
    assert "b" in hall.order[:4]
    for task in hall.tasks.values():
        task.cancel()


async def test_a_tenant_at_its_own_limit_is_passed_over() -> None:
    hall = Hall(TenantLimiter({"w": 3, "v": 1}, LimitsConfig(per_tenant=2)))
    for name in ("a1", "a2", "a3", "b1", "b2"):
        hall.come(name)
    await settle()
    assert hall.order == ["a1", "a2", "b1"]
    hall.come("a4", "v")
    await settle()
    assert hall.order == ["a1", "a2", "b1"], "the limit counts over all workers"
    await hall.leave("b1")
    assert hall.order[3:] == ["b2"], "the third slot goes past a3, which waits for its own"
    await hall.leave("a1")
    assert set(hall.order[4:]) == {"a3"}
    await hall.leave("a2")
    assert set(hall.order[4:]) == {"a3", "a4"}
    await hall.run_to_the_end()


async def test_a_full_queue_turns_away_and_others_still_come_in() -> None:
    hall = Hall(TenantLimiter({"w": 1}, LimitsConfig(max_waiting=2)))
    for name in ("a1", "a2", "a3"):
        hall.come(name)
    await settle()
    with pytest.raises(OverloadedError, match=r"2 calls wait for worker 'w'.*max_waiting") as caught:
        await hall.limiter.slot("a", "w").__aenter__()
    assert isinstance(caught.value, ResourceLimitError)
    assert (caught.value.worker, caught.value.waiting) == ("w", 2)
    assert caught.value.retry_after_s is None, "no call has ended yet: nobody knows"
    hall.come("b1")
    await settle()
    assert hall.limiter.waiting("w") == 3
    await hall.leave("a1")
    hall.come("a4")
    hall.come("a5")
    await settle()
    error = hall.tasks["a5"].exception() if hall.tasks["a5"].done() else None
    assert isinstance(error, OverloadedError)
    assert error.retry_after_s is not None
    assert error.retry_after_s >= 0
    del hall.tasks["a5"]
    await hall.run_to_the_end()


async def test_no_waiting_at_all() -> None:
    hall = Hall(TenantLimiter({"w": 1}, LimitsConfig(max_waiting=0)))
    hall.come("a1")
    await settle()
    with pytest.raises(OverloadedError):
        async with hall.limiter.slot("b", "w"):
            pass
    await hall.run_to_the_end()
    async with hall.limiter.slot("b", "w"):
        assert hall.limiter.running("w") == 1


async def test_workers_without_a_limit_let_everybody_in() -> None:
    limiter = TenantLimiter.for_catalog(WorkerCatalog(workers=(WorkerProfile(name="w", description="d", model="m"),)))
    hall = Hall(limiter)
    for number in range(100):
        hall.come(f"a{number}")
    await settle()
    assert limiter.running("w") == 100
    await hall.run_to_the_end()


async def test_a_slot_that_comes_with_the_cancellation_goes_to_the_next() -> None:
    hall = Hall(TenantLimiter({"w": 1}))
    for name in ("a1", "b1", "c1"):
        hall.come(name)
    await settle()
    hall._leave["a1"].set()
    await asyncio.sleep(0)  # a1 gives its slot to b1, which has not run yet
    hall.tasks["b1"].cancel()
    await settle()
    assert hall.order == ["a1", "c1"]
    await hall.leave("c1")
    assert hall.limiter.running("w") == 0


def test_each_event_loop_has_slots_of_its_own() -> None:
    limiter = TenantLimiter({"w": 1})

    async def hold() -> int:
        async with limiter.slot("a", "w"):
            return limiter.running("w")

    async def nested() -> int:
        async with limiter.slot("a", "w"):
            return await asyncio.to_thread(lambda: asyncio.run(hold()))

    assert asyncio.run(nested()) == 1


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from("abc"), st.sampled_from("wv")),
        st.tuples(st.just("leave"), st.integers(0, 30), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(
    events=EVENTS,
    capacity=st.integers(1, 3),
    per_tenant=st.one_of(st.none(), st.integers(1, 3)),
    together=st.integers(1, 4),
)
def test_limits_hold_order_holds_and_no_slot_is_lost(
    events: list[tuple[str, Any, Any]], capacity: int, per_tenant: int | None, together: int
) -> None:
    asyncio.run(_play(events, capacity, per_tenant, together))


async def _play(events: list[tuple[str, Any, Any]], capacity: int, per_tenant: int | None, together: int) -> None:
    limiter = TenantLimiter({"w": capacity, "v": capacity}, LimitsConfig(per_tenant=per_tenant))
    hall = Hall(limiter)
    inside: list[str] = []
    where: dict[str, str] = {}
    seen = 0
    for count, (what, one, other) in enumerate(events):
        if what == "come":
            name = f"{one}{count:03}"
            where[name] = other
            hall.come(name, other)
        elif what == "leave" and inside:
            hall._leave[inside.pop(one % len(inside))].set()
        elif what == "cancel":
            waiting = [name for name in where if name not in hall.order and not hall.tasks[name].done()]
            if waiting:
                hall.tasks[waiting[one % len(waiting)]].cancel()
        if count % together:
            continue  # several things happen before anybody runs
        await settle()
        inside += hall.order[seen:]
        seen = len(hall.order)
        _check(hall, inside, where, capacity, per_tenant)
    await settle()
    position = 0
    while position < len(hall.order):
        hall._leave[hall.order[position]].set()
        await settle()
        position += 1
    await asyncio.wait(hall.tasks.values(), timeout=5) if hall.tasks else None
    assert all(task.done() for task in hall.tasks.values()), "nobody may wait for ever"
    assert [limiter.running(worker) for worker in "wv"] == [0, 0]
    assert [limiter.waiting(worker) for worker in "wv"] == [0, 0]
    for tenant in "abc":
        for worker in "wv":
            served = [name for name in hall.order if name[0] == tenant and where[name] == worker]
            assert served == sorted(served), "first come, first served within a tenant"


def _check(hall: Hall, inside: list[str], where: dict[str, str], capacity: int, per_tenant: int | None) -> None:
    by_worker = Counter(where[name] for name in inside)
    by_tenant = Counter(name[0] for name in inside)
    assert all(count <= capacity for count in by_worker.values())
    assert per_tenant is None or all(count <= per_tenant for count in by_tenant.values())
    for name, task in hall.tasks.items():
        if name not in hall.order and not task.done():
            blocked = by_worker[where[name]] >= capacity or (
                per_tenant is not None and by_tenant[name[0]] >= per_tenant
            )
            assert blocked, f"{name} waits although there is room"


class Blocked:
    """A worker whose calls end when a test says so."""

    def __init__(self) -> None:
        self.profile = WorkerProfile(name="w", description="d", model="m")
        self.go_on = asyncio.Event()

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        await self.go_on.wait()
        return WorkerOutput(content="ok")

    async def aclose(self) -> None:
        pass


async def test_a_limited_worker_turns_away_what_its_queue_cannot_hold() -> None:
    blocked = Blocked()
    worker = LimitedWorker(blocked, 2, max_waiting=3)
    tasks = [asyncio.create_task(worker.run(request())) for _ in range(8)]
    await settle()
    refused = [task for task in tasks if task.done()]
    assert len(refused) == 3
    assert all(isinstance(task.exception(), OverloadedError) for task in refused)
    blocked.go_on.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(outcome, WorkerOutput) for outcome in outcomes) == 5


async def test_a_stream_holds_its_slot_until_it_ends_or_is_left() -> None:
    blocked = Blocked()
    blocked.go_on.set()
    worker = LimitedWorker(blocked, 1, max_waiting=0)
    items = worker.stream(request(timeout_s=5))
    assert await anext(items) == "ok"
    with pytest.raises(OverloadedError):
        await worker.run(request())
    await items.aclose()
    assert (await worker.run(request())).content == "ok"


async def test_the_server_never_sees_more_calls_than_the_profile_allows(server: MisbehavingServer) -> None:
    active = peak = 0

    async def script(exchange: Exchange) -> None:
        nonlocal active, peak
        active += 1
        peak = max(peak, active)
        await asyncio.sleep(0.005)
        active -= 1
        await exchange.send_json(completion())

    server.script = script
    profile = WorkerProfile(name="w", description="d", model="m", base_url=server.base_url, max_concurrency=3)
    async with WorkerLayer(WorkerCatalog(workers=(profile,))) as layer:
        await asyncio.gather(*(layer["w"].run(request()) for _ in range(40)))
    assert peak == 3
    assert len(server.requests) == 40
