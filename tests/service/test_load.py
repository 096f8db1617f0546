"""More than can be taken on at a time, and clients that are too slow."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from werkzeug import Request, Response

from orchestai.config import Project, ServiceConfig
from orchestai.service.admission import Admission
from orchestai.service.metrics import ServiceMetrics
from orchestai.service.problems import ProblemError
from tests.app.endpoint import Endpoint, says
from tests.service.harness import drain, give_token, running


def admission(**limits: Any) -> Admission:
    return Admission(ServiceConfig(**limits), ServiceMetrics(CollectorRegistry()))


async def test_places_go_to_the_urgent_first_and_then_in_order() -> None:
    gate = admission(max_in_flight=1)
    await gate.enter("t", "normal")
    order: list[str] = []

    async def come(name: str, priority: Any) -> None:
        await gate.enter("t", priority)
        order.append(name)
        gate.leave("t")

    names = [("low", "low"), ("first", "normal"), ("second", "normal"), ("high", "high")]
    tasks = [asyncio.create_task(come(*each)) for each in names]
    await asyncio.sleep(0)
    gate.leave("t")
    await asyncio.gather(*tasks)
    assert order == ["high", "first", "second", "low"]
    await gate.enter("t", "normal")  # the place is free again


async def test_the_queue_is_bounded_and_so_is_the_wait() -> None:
    gate = admission(max_in_flight=1, max_queued=1, queue_timeout_s=0.05)
    await gate.enter("t", "normal")
    waiting = asyncio.create_task(gate.enter("t", "normal"))
    await asyncio.sleep(0)
    with pytest.raises(ProblemError, match="1 requests wait already") as full:
        await gate.enter("t", "normal")
    assert (full.value.status, full.value.headers["Retry-After"]) == (503, "2")
    with pytest.raises(ProblemError, match="No place became free"):
        await waiting
    gate.leave("t")
    await gate.enter("t", "normal")


async def test_a_place_that_comes_as_its_waiter_goes_is_not_lost() -> None:
    gate = admission(max_in_flight=1)
    await gate.enter("t", "normal")
    waiting = asyncio.create_task(gate.enter("t", "normal"))
    await asyncio.sleep(0)
    gate.leave("t")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(1):
        await gate.enter("t", "normal")


async def test_a_tenant_has_a_share() -> None:
    gate = admission(max_in_flight=10, max_per_tenant=2)
    await gate.enter("a", "normal")
    await gate.enter("a", "normal")
    with pytest.raises(ProblemError, match="2 executions of this tenant") as busy:
        await gate.enter("a", "high")
    assert busy.value.status == 429
    await gate.enter("b", "normal")
    gate.leave("a")
    await gate.enter("a", "normal")


async def test_closing_turns_away_those_who_wait() -> None:
    gate = admission(max_in_flight=1)
    await gate.enter("t", "normal")
    waiting = asyncio.create_task(gate.enter("t", "normal"))
    await asyncio.sleep(0)
    gate.close()
    for late in (waiting, gate.enter("t", "normal")):
        with pytest.raises(ProblemError, match="The service stops"):
            await late


def test_a_flood_is_answered_and_never_more_runs_than_allowed(project: Project, endpoint: Endpoint) -> None:
    at_once: list[int] = []
    lock, now = threading.Lock(), [0]

    def slow(request: Request) -> Response:
        with lock:
            now[0] += 1
            at_once.append(now[0])
        time.sleep(0.1)
        with lock:
            now[0] -= 1
        return says("Paris")(request)

    endpoint.answer = slow
    with running(project, max_in_flight=2, max_queued=2, queue_timeout_s=5) as service, ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: service.post(), range(20)))
        statuses = [response.status_code for response in responses]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 4
        refused = next(response for response in responses if response.status_code == 503)
        assert refused.json()["code"] == "overloaded"
        assert "retry-after" in refused.headers
        assert max(at_once) <= 2
        assert service.post().status_code == 200, "it recovers"
        assert 'orchestai_http_rejected_total{reason="queue_full"}' in service.http.get("/metrics").text


def test_a_place_is_held_until_the_work_ends_not_until_the_answer(project: Project, endpoint: Endpoint) -> None:
    release = threading.Event()

    def slow(request: Request) -> Response:
        assert release.wait(10)
        return says("Paris")(request)

    endpoint.answer = slow
    with running(project, max_in_flight=1, max_queued=0) as service:
        first = service.post(wait=False)
        assert first.status_code == 202
        assert service.post().status_code == 503
        release.set()
        service.ended(first.json()["execution_id"])
        assert service.post().status_code == 200


@pytest.fixture
def impatient(project: Project) -> Iterator[Any]:
    with running(project, header_timeout_s=0.3, stall_timeout_s=0.5) as found:
        yield found


def test_a_head_that_never_ends_is_cut_off(impatient: Any) -> None:
    for start in (b"", b"POST /v1/instr", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "):
        with socket.create_connection(("127.0.0.1", impatient.port), timeout=5) as connection:
            connection.sendall(start)
            started = time.monotonic()
            assert drain(connection) == b""
            assert 0.1 < time.monotonic() - started < 3


def test_a_second_request_on_a_connection_has_to_hurry_too(impatient: Any) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        started = time.monotonic()
        received = drain(connection)
        assert received.count(b"HTTP/1.1 200") == 1
        assert time.monotonic() - started < 3


def test_a_connection_between_requests_is_kept(impatient: Any) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=5) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b'{"status":"ok"}'):
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200")
            time.sleep(0.6)


def test_answers_are_sent_without_delay(impatient: Any) -> None:
    assert impatient.http.get("/healthz").status_code == 200
    (connection,) = impatient.server.server_state.connections
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_giant_head_is_cut_off(impatient: Any) -> None:
    giant = b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 200_000
    assert b"200" not in impatient.raw(giant)
    many = b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(20_000))
    assert b"200" not in impatient.raw(many)
    assert impatient.http.get("/healthz").status_code == 200


def test_an_answer_that_nobody_reads_is_dropped(impatient: Any, endpoint: Endpoint) -> None:
    endpoint.answer = says("x" * 8_000_000)
    body = b'{"text": "Write a lot"}'
    head = b"POST /v1/instructions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        deadline = time.monotonic() + 10
        while not impatient.server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        while impatient.server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not impatient.server.server_state.connections
    (found,) = impatient.http.get("/v1/executions").json()["executions"]
    assert found["status"] == "finished"


def test_connections_are_bounded(project: Project) -> None:
    give_token(project, "app")
    with running(project, max_connections=4) as service:
        idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(4)]
        try:
            time.sleep(0.1)
            assert service.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 503")
        finally:
            for connection in idle:
                connection.close()
