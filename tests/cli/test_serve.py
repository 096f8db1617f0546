"""The local servers as a user starts them: real processes, real sockets."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.endpoint import write_project
from tests.cli.conftest import Cli

pytestmark = pytest.mark.integration

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def free_ports(cli: Cli, tmp_path: Path) -> None:
    """Let the servers of this test take free ports."""
    project = write_project(tmp_path / "p", endpoint={"port": 0}, simulator={"port": 0})
    cli.use(ORCHESTAI_PROJECT_DIR=str(project))


@pytest.fixture
def start(free_ports: None, shell: Callable[..., dict[str, Any]]) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        call = shell(*command)
        call["env"] |= {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
        started.append(subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_up_detached_leaves_a_model_running_until_it_is_stopped(cli: Cli, free_ports: None) -> None:
    started = cli("up", "--detach")
    try:
        assert started.code == 0, started.err
        url = _url_in(started.out)
        message = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        assert _get(f"{url}/chat/completions", message)["choices"][0]["message"]["content"]
        assert url in cli("up", "--detach").out, "the second call finds the first one's server"
    finally:
        stopped = cli("up", "--stop")
    assert "Stopped" in stopped.out
    assert "Nothing was running" in cli("up", "--stop").out


def test_up_ends_its_model_with_ctrl_c(start: Start) -> None:
    process = start("up")
    url = _first_url(process)
    assert _get(f"{url}/models")["data"]
    _interrupt(process)
    with pytest.raises(OSError, match="refused"):
        _get(f"{url}/models")


def test_simulate_serves_the_simulated_workers_and_says_so(start: Start) -> None:
    process = start("simulate")
    try:
        models = _get(f"{_first_url(process)}/models")["data"]
        assert "sim-frontier" in {model["id"] for model in models}
    finally:
        _interrupt(process)


def test_a_taken_port_is_named(start: Start) -> None:
    first = start("simulate")
    port = _first_url(first).rpartition(":")[2].removesuffix("/v1")
    try:
        second = start("simulate", "--port", port)
        _, error = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"127.0.0.1:{port}" in error
        assert "taken" in error
    finally:
        _interrupt(first)


def _interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode != 0


def _get(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        return json.load(response)


def _url_in(text: str) -> str:
    return next(word.rstrip(":") for word in text.split() if word.startswith("http://"))


def _first_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if "http://" in line:
            return _url_in(line)
    raise AssertionError(process.stderr.read())
