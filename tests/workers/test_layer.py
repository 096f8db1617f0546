from __future__ import annotations

import asyncio

import pytest
from misbehaving import Exchange, MisbehavingServer, completion, request

from orchestai.contracts import (
    SimulationProfile,
    Worker,
    WorkerCatalog,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
)
from orchestai.errors import EndpointError, InputError, WorkerTimeoutError
from orchestai.workers import LimitedWorker, LocalEndpoints, OpenAIWorker, WorkerLayer


def catalog(base_url: str | None = None) -> WorkerCatalog:
    return WorkerCatalog(
        workers=(
            WorkerProfile(name="local", description="d", model="small", api_key_env="BIG_KEY"),
            WorkerProfile(name="sim", description="d", model="sim", simulation=SimulationProfile()),
            WorkerProfile(name="remote", description="d", model="big", base_url=base_url, api_key_env="BIG_KEY"),
            WorkerProfile(name="remote-2", description="d", model="b", base_url=base_url, api_key_env="BIG_KEY"),
        )
    )


async def test_workers_share_connections_and_get_their_key(server: MisbehavingServer) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json(completion("ok"))

    server.script = script
    async with WorkerLayer(catalog(server.base_url), env={"BIG_KEY": "k-123"}.get) as layer:
        assert layer["remote"] is layer["remote"]
        await layer["remote"].run(request())
        await layer["remote-2"].run(request())
    assert server.connections == 1
    assert [exchange.json()["model"] for exchange in server.requests] == ["big", "b"]
    assert all("Bearer k-123" in exchange.head for exchange in server.requests)


async def test_local_workers_find_the_endpoint_of_their_kind(server: MisbehavingServer) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json(completion("ok"))

    server.script = script
    started: list[str] = []

    def endpoints() -> LocalEndpoints:
        started.append("asked")
        return LocalEndpoints(model=server.base_url, simulator=server.base_url + "/simulator")

    async with WorkerLayer(catalog(), endpoints=endpoints, env={"BIG_KEY": "k-123"}.get) as layer:
        assert started == [], "nothing is asked before a worker is needed"
        await layer["local"].run(request())
        output = await layer["sim"].run(request(task_type="reasoning"))
    local, simulated = server.requests
    assert local.head.startswith("POST /v1/chat/completions ")
    assert "x-orchestai-task-type" not in local.head.lower()
    assert "k-123" not in local.head, "the user's key is not for our own servers"
    assert simulated.head.startswith("POST /v1/simulator/chat/completions ")
    assert "x-orchestai-task-type: reasoning" in simulated.head.lower()
    assert output.metadata["simulated"] is True


def test_unknown_worker() -> None:
    with pytest.raises(InputError, match="Known: local, sim, remote"):
        WorkerLayer(catalog())["nobody"]


def test_a_server_that_does_not_run_is_named() -> None:
    layer = WorkerLayer(catalog(), endpoints=LocalEndpoints(model="http://127.0.0.1:1/v1"))
    assert isinstance(layer["local"], OpenAIWorker)
    with pytest.raises(EndpointError, match=r"simulator is not running.*orchestai up"):
        layer["sim"]


class SlowWorker:
    def __init__(self, profile: WorkerProfile) -> None:
        self.profile = profile
        self.active = self.peak = 0
        self.closed = False
        self.limits: list[float | None] = []

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        self.limits.append(request.timeout_s)
        self.active += 1
        self.peak = max(self.peak, self.active)
        await asyncio.sleep(0.05)
        self.active -= 1
        return WorkerOutput(content="done")

    async def aclose(self) -> None:
        self.closed = True


async def test_the_factory_makes_workers_and_the_layer_limits_and_closes_them() -> None:
    profile = WorkerProfile(name="w", description="d", model="m", max_concurrency=2)
    made: list[SlowWorker] = []

    def factory(profile: WorkerProfile) -> Worker:
        made.append(SlowWorker(profile))
        return made[-1]

    layer = WorkerLayer(WorkerCatalog(workers=(profile,)), factory=factory)
    worker = layer["w"]
    assert isinstance(worker, LimitedWorker)
    assert worker.profile is profile
    outputs = await asyncio.gather(*(worker.run(request()) for _ in range(6)))
    assert [output.content for output in outputs] == ["done"] * 6
    assert len(made) == 1
    assert made[0].peak == 2
    await layer.aclose()
    assert made[0].closed


async def test_waiting_for_a_slot_counts_against_the_callers_time_only() -> None:
    slow = SlowWorker(WorkerProfile(name="w", description="d", model="m"))
    worker = LimitedWorker(slow, 1)
    first = asyncio.create_task(worker.run(request()))
    await asyncio.sleep(0)
    with pytest.raises(WorkerTimeoutError, match="1 slots"):
        await worker.run(request(timeout_s=0.01))
    late = await worker.run(request(timeout_s=10))
    assert late.content == "done"
    assert slow.limits[-1] is not None
    assert slow.limits[-1] < 10
    await first
