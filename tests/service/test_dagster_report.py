"""Reports to Dagster: in the background, in the form its webserver takes, and nothing lost while it is down."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestai.contracts import ExecutionResult, Instruction
from orchestai.engine.store import ExecutionStore
from orchestai.service.dagster_report import DagsterReporter


@pytest.fixture
def store(tmp_path: Path) -> ExecutionStore:
    return ExecutionStore(tmp_path)


def end(store: ExecutionStore, name: str, *, success: bool, latency_ms: float = 10.0) -> None:
    store.accept(name, Instruction(text="Do it"), {}).result()
    result = ExecutionResult(
        success=success,
        outputs={-1: "x"},
        total_cost=0.25,
        total_latency_ms=latency_ms,
        execution_id=name,
        completed=success,
        error=None if success else "worker_auth: no key",
    )
    store.finish(name, result).result()


async def test_what_ended_is_reported_once_and_what_did_not_arrive_again(
    store: ExecutionStore, httpserver: HTTPServer
) -> None:
    bodies: list[dict[str, object]] = []
    status = 500

    def take(request: Request) -> Response:
        bodies.append(json.loads(request.data))
        return Response("{}", status=status, content_type="application/json")

    httpserver.expect_request("/report_asset_observation/execution_logs").respond_with_handler(take)
    reporter = DagsterReporter(httpserver.url_for("/"), 60, store)
    assert not await reporter.report(), "nothing has ended"
    assert bodies == []
    for number in range(3):
        end(store, f"e{number}", success=number < 2, latency_ms=10.0 * (number + 1))
    await asyncio.sleep(0.01)
    assert not await reporter.report()
    status = 200
    assert await reporter.report(), "what Dagster refused is sent again"
    assert not await reporter.report()
    metadata = bodies[-1]["metadata"]
    assert isinstance(metadata, dict)
    assert (metadata["executions"], metadata["successes"], metadata["failures"]) == (3, 2, 1)
    assert (metadata["cost_usd"], metadata["latency_ms_p50"], metadata["latency_ms_p95"]) == (0.75, 20.0, 30.0)
    assert metadata["last_failure"] == "e2: worker_auth: no key"
    store.close()


async def test_a_dagster_that_is_down_is_logged_and_stops_nothing(
    store: ExecutionStore, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = DagsterReporter("http://127.0.0.1:9", 60, store)
    end(store, "e", success=True)
    await asyncio.sleep(0.01)
    assert not await reporter.report()
    assert "did not take the report" in caplog.text
    store.close()
