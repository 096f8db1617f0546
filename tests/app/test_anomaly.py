"""A worker behind a real server goes bad, leaves routing, and comes back when its probe is as usual."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestai.app.anomaly import train_anomaly_on
from orchestai.app.places import anomaly_folder
from orchestai.app.runtime import Runtime, build_runtime, open_runtime
from orchestai.config import AnomalyConfig, BreakerConfig, Project, RoutingConfig, SimulatorConfig
from orchestai.contracts import (
    Assignment,
    ExecutionEvent,
    Instruction,
    Plan,
    SimulationProfile,
    Subtask,
    WorkerCatalog,
    WorkerProfile,
    WorkflowGraph,
)
from orchestai.errors import DataError
from orchestai.simulator import serve
from orchestai.workers.breaker import BreakerState
from tests.app.endpoint import load

GRAPH = WorkflowGraph(nodes=(Subtask(task_type="generation", description="Name a river."),), dependencies=((),))
OPEN_S = 0.4
CALLS = 120


def workers(port: int, *, shaky_ms: float = 10.0) -> WorkerCatalog:
    return WorkerCatalog(
        workers=tuple(
            WorkerProfile(
                name=name,
                description="d",
                model=name,
                base_url=f"http://127.0.0.1:{port}/v1",
                input_usd_per_mtok=1.0,
                output_usd_per_mtok=2.0,
                simulation=SimulationProfile(latency_ms=latency_ms),
            )
            for name, latency_ms in (("shaky", shaky_ms), ("steady", 10.0))
        )
    )


@contextlib.contextmanager
def server(port: int, *, shaky_ms: float = 10.0) -> Iterator[None]:
    with serve(workers(port, shaky_ms=shaky_ms), SimulatorConfig(port=port)):
        yield


@pytest.fixture(scope="module")
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def project(port: int, configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two workers behind one server, 120 executions of each in the log, and the model that they taught."""
    loaded = load(configs, tmp_path_factory.mktemp("anomaly") / "home")
    engine = loaded.engine.model_copy(
        update={
            "breaker": BreakerConfig(open_s=OPEN_S),
            "anomaly": AnomalyConfig(min_calls=100, epochs=5),
        }
    )
    made = loaded.model_copy(
        update={"workers": workers(port), "engine": engine, "routing": RoutingConfig(simulated="allow")}
    )

    async def many(runtime: Runtime) -> None:
        async def some(worker: str) -> None:
            for _ in range(CALLS // 3):
                await runtime.aexecute(Instruction(text="Name a river."), plan(worker))

        await asyncio.gather(*(some(worker) for worker in ("shaky", "steady") for _ in range(3)))

    with server(port), open_runtime(made, learned=False) as runtime:
        runtime.call(many(runtime))
    result = train_anomaly_on(made)
    assert result.checkpoint == anomaly_folder(made)
    assert result.trained.calls == {"shaky": CALLS, "steady": CALLS}
    return made


def plan(worker: str) -> Plan:
    other = "steady" if worker == "shaky" else "shaky"
    assignment = Assignment(worker=worker, alternatives=(other,))
    return Plan(graph=GRAPH, assignments=(assignment,), planner="given")


def ask(runtime: Runtime, events: list[ExecutionEvent] | None = None) -> str:
    """Return who did what was planned for the shaky worker."""
    on_event = events.append if events is not None else None
    result = runtime.execute(Instruction(text="Name a river."), plan("shaky"), on_event=on_event).result
    assert result.completed, result.error
    return result.subtasks[0].worker


def test_a_worker_that_goes_bad_leaves_routing_until_its_probe_is_as_usual(
    project: Project, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = build_runtime(project, learned=False, metrics=True)
    breaker = runtime.workforce.breakers["shaky"]
    events: list[ExecutionEvent] = []
    try:
        with server(port):
            assert [ask(runtime, events) for _ in range(5)] == ["shaky"] * 5
        scores = [event.anomaly for event in events if event.status == "done"]
        assert all(score is not None and score < 1 for score in scores)
        with server(port, shaky_ms=1500.0), caplog.at_level(logging.WARNING, logger="orchestai.alerts"):
            tries = 0
            while breaker.state is BreakerState.CLOSED and tries < 20:
                ask(runtime, events)
                tries += 1
            assert tries <= 12
            assert max(event.anomaly or 0.0 for event in events) > 1
            assert "unusual latency" in (runtime.workforce.why_not("shaky") or "")
            assert "worker shaky behaves unlike itself: unusual latency" in caplog.text
            assert ask(runtime) == "steady"
            planned = runtime.plan(Instruction(text="Name another river."))
            assert {each.worker for each in planned.assignments} == {"steady"}, "nothing is planned for it either"
            assert all("shaky" not in each.alternatives for each in planned.assignments)
            metrics = runtime.telemetry.render()[0].decode()
            assert 'orchestai_worker_anomalies_total{worker="shaky"} 1.0' in metrics
            time.sleep(OPEN_S)
            assert ask(runtime) == "shaky", "the probe, whose answer is given"
            assert "the probe was unusual again" in caplog.text
            assert breaker.state is BreakerState.OPEN
        with server(port):
            assert ask(runtime) == "steady"
            time.sleep(OPEN_S)
            assert ask(runtime) == "shaky"
            assert breaker.state is BreakerState.CLOSED
            assert runtime.workforce.why_not("shaky") is None
            assert [ask(runtime) for _ in range(3)] == ["shaky"] * 3
    finally:
        runtime.close()


def test_the_last_worker_that_can_do_it_stays(project: Project, port: int, caplog: pytest.LogCaptureFixture) -> None:
    alone = project.model_copy(update={"workers": WorkerCatalog(workers=workers(port).workers[:1])})
    with (
        server(port, shaky_ms=1500.0),
        open_runtime(alone, learned=False, log=False) as runtime,
        caplog.at_level(logging.WARNING, logger="orchestai.alerts"),
    ):
        single = Plan(graph=GRAPH, assignments=(Assignment(worker="shaky"),), planner="given")
        for _ in range(12):
            assert runtime.execute(Instruction(text="Name a river."), single).result.completed
    assert "it stays: nobody else does generation" in caplog.text
    assert caplog.text.count("behaves unlike itself") == 1, "told once, not with every call"


def test_without_a_model_or_switched_off_nobody_watches(project: Project, configs: Path, tmp_path: Path) -> None:
    with open_runtime(load(configs, tmp_path / "home"), mock=True, log=False) as runtime:
        assert runtime.workforce.watch is None
    engine = project.engine.model_copy(update={"anomaly": AnomalyConfig(enabled=False)})
    with open_runtime(project.model_copy(update={"engine": engine}), log=False) as runtime:
        assert runtime.workforce.watch is None


def test_too_few_calls_are_refused(configs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No worker has 200 calls"):
        train_anomaly_on(load(configs, tmp_path / "home"))


def test_the_live_path_loads_no_torch(project: Project) -> None:
    code = (
        "import sys; from pathlib import Path; from orchestai.routing.anomaly.store import load_anomaly; "
        "from orchestai.routing.anomaly import watch; "
        f"model = load_anomaly(Path({str(anomaly_folder(project))!r})); "
        "assert model.detector.layers; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
