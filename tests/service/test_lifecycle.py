"""Cancelled, stopped, killed: nothing that was promised is lost, nothing runs twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from werkzeug import Request, Response

from orchestai.app.places import executions_state
from orchestai.config import Project
from orchestai.engine.store import ExecutionStore
from orchestai.logs import read_executions
from tests.app.endpoint import Endpoint, load, says
from tests.service.harness import Running, running


class SilentWorker:
    """Takes a call and never answers; tells when the caller hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self.called = threading.Event()
        self.hung_up = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65536)
                self.called.set()
                while connection.recv(65536):
                    pass
                self.hung_up.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def silent() -> Iterator[SilentWorker]:
    worker = SilentWorker()
    yield worker
    worker.close()


def test_cancelling_closes_the_workers_socket(configs: Path, tmp_path: Path, silent: SilentWorker) -> None:
    environment = {"OPENAI_BASE_URL": silent.base_url, "OPENAI_MODEL": "m", "OPENAI_API_KEY": "k"}
    with running(load(configs, tmp_path / "home", **environment)) as service:
        made = service.post(wait=False).json()
        assert silent.called.wait(10)
        response = service.http.delete(made["location"])
        assert response.status_code == 200
        body = response.json()
        assert (body["status"], body["completed"]) == ("cancelled", False)
        assert silent.hung_up.wait(10)
        again = service.http.delete(made["location"])
        assert (again.status_code, again.json()["code"]) == (409, "already_ended")


def test_stopping_lets_short_work_finish_and_answers_it(project: Project, endpoint: Endpoint) -> None:
    def slow(request: Request) -> Response:
        time.sleep(0.5)
        return says("Paris")(request)

    endpoint.answer = slow
    answers: list[httpx.Response] = []
    with running(project) as service:
        asking = threading.Thread(target=lambda: answers.append(service.post()))
        asking.start()
        assert endpoint.called.wait(10)
        service.server.should_exit = True
        asking.join(10)
        assert answers[0].json()["answer"] == "Paris"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{service.url}/healthz")


def test_stopping_leaves_long_work_to_the_next_start(project: Project, endpoint: Endpoint) -> None:
    release = threading.Event()

    def slow(request: Request) -> Response:
        release.wait(20)
        return says("Paris")(request)

    endpoint.answer = slow
    answers: list[httpx.Response] = []
    with running(project, grace_s=0.1) as service:
        asking = threading.Thread(target=lambda: answers.append(service.post()))
        asking.start()
        assert endpoint.called.wait(10)
        service.server.should_exit = True
        asking.join(10)
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "stopping")
    assert read_executions(project.paths.execution_logs) == []
    release.set()
    with running(project) as service:
        (left,) = service.http.get("/v1/executions").json()["executions"]
        assert service.ended(left["id"])["answer"] == "Paris"
    (record,) = read_executions(project.paths.execution_logs)
    assert record.execution_id == left["id"]


def test_it_is_ready_while_it_can_keep_its_promises(service: Running, project: Project) -> None:
    assert service.http.get("/readyz").json() == {"status": "ready"}
    logs = project.paths.execution_logs
    logs.rename(logs.with_name("away"))
    logs.write_text("no folder")
    time.sleep(1.1)
    response = service.http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["The execution log cannot be written: Not a directory."]
    assert str(logs) not in response.text
    assert service.http.get("/healthz").status_code == 200
    logs.unlink()
    logs.with_name("away").rename(logs)
    time.sleep(1.1)
    assert service.http.get("/readyz").status_code == 200


@contextlib.contextmanager
def process(configs: Path, home: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `orchestai serve` in a process of its own."""
    command = [sys.executable, "-m", "orchestai.cli.main", "serve", "--port", "0", "--project", str(configs)]
    variables = {**os.environ, **environment, "ORCHESTAI_HOME": str(home), "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as found:
        try:
            assert found.stdout is not None
            line = found.stdout.readline()
            assert "answers at" in line, line
            yield found, line.split()[-1]
        finally:
            if found.poll() is None:
                found.kill()


@pytest.mark.integration
def test_a_killed_service_finishes_what_it_promised_after_the_restart(
    configs: Path, tmp_path: Path, endpoint: Endpoint
) -> None:
    release = threading.Event()

    def slow(request: Request) -> Response:
        release.wait(30)
        return says("Paris")(request)

    endpoint.answer = slow
    home = tmp_path / "home"
    environment = {**endpoint.environment, "ORCHESTAI_OPENAI_TIMEOUT_S": "30"}
    body = {"text": "What is the capital of France?", "wait": False}
    with process(configs, home, environment) as (killed, url):
        keys = [f"k-{number}" for number in range(5)]
        promised = [
            httpx.post(f"{url}/v1/instructions", json=body, headers={"Idempotency-Key": key}).json()["execution_id"]
            for key in keys
        ]
        assert endpoint.called.wait(10)
        killed.kill()
        killed.wait()
    release.set()
    with process(configs, home, environment) as (second, url):
        repeated = httpx.post(
            f"{url}/v1/instructions", json={**body, "wait": True}, headers={"Idempotency-Key": "k-0"}, timeout=30
        )
        assert repeated.json()["execution_id"] == promised[0]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = httpx.get(f"{url}/v1/executions", params={"status": "finished"}).json()["executions"]
            if len(found) == len(promised):
                break
            time.sleep(0.05)
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0
    project = load(configs, home)
    records = read_executions(project.paths.execution_logs)
    assert sorted(record.execution_id for record in records) == sorted(promised)
    assert all(record.completed for record in records)
    store = ExecutionStore(executions_state(project))
    assert [store.find(name).status for name in promised] == ["finished"] * len(promised)  # type: ignore[union-attr]
    store.close()


def test_the_description_is_served_and_names_what_there_is(service: Running) -> None:
    document = json.loads(service.http.get("/openapi.json").text)
    assert set(document["paths"]) == {
        "/v1/instructions",
        "/v1/executions",
        "/v1/executions/{execution_id}",
        "/v1/executions/{execution_id}/provenance",
        "/v1/executions/{execution_id}/approve",
        "/v1/executions/{execution_id}/reject",
        "/v1/executions/{execution_id}/feedback",
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/{model}",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    text = document["components"]["schemas"]["InstructionRequest"]["properties"]["text"]
    assert text["maxLength"] == 32_768
