"""The packaged model, really served; one server is shared by the tests that only talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestai.config import EndpointConfig
from orchestai.contracts import WorkerProfile, WorkerRequest
from orchestai.endpoint import MODEL_NAME, LocalEndpoint, ensure_running, find_model
from orchestai.endpoint.state import EndpointState, StateFile, process_birth
from orchestai.errors import EndpointError, StorageError, WorkerUnavailableError
from orchestai.workers import OpenAIWorker

SMALL = EndpointConfig(port=0, context_tokens=512, startup_timeout_s=30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEndpoint]:
    with LocalEndpoint(SMALL, tmp_path_factory.mktemp("home")) as endpoint:
        yield endpoint


@contextlib.asynccontextmanager
async def worker_at(base_url: str) -> AsyncIterator[OpenAIWorker]:
    profile = WorkerProfile(name="local", description="d", model=MODEL_NAME, timeout_s=20)
    worker = OpenAIWorker(profile, base_url=base_url)
    try:
        yield worker
    finally:
        await worker.aclose()


def ask(prompt: str, **more: Any) -> WorkerRequest:
    return WorkerRequest(**({"task_type": "question_answering", "prompt": prompt, "max_output_tokens": 12} | more))


def test_the_packaged_weights_are_found() -> None:
    path = find_model()
    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert path.stat().st_size == 98_362_432


@pytest.mark.integration
async def test_it_answers_the_same_at_temperature_zero(running: LocalEndpoint) -> None:
    question = ask("What is the capital of France?", system="You are a helpful AI assistant.", max_output_tokens=20)
    async with worker_at(running.base_url) as worker:
        started = time.monotonic()
        outputs = [await worker.run(question) for _ in range(2)]
        print(f"two calls of 20 tokens: {time.monotonic() - started:.2f} s")  # noqa: T201
    assert outputs[0].content == outputs[1].content
    assert "paris" in outputs[0].content.casefold()
    metadata = outputs[0].metadata
    assert metadata["simulated"] is False
    assert metadata["usage_estimated"] is False
    assert metadata["output_tokens"] <= 20
    assert 0 < metadata["confidence"] <= 1
    assert outputs[0].cost == 0


@pytest.mark.integration
async def test_streaming_ends_with_usage(running: LocalEndpoint) -> None:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with AsyncOpenAI(
        base_url=running.base_url, api_key="none", max_retries=0, http_client=DefaultAioHttpClient()
    ) as client:
        assert [model.id async for model in client.models.list()] == [MODEL_NAME]
        stream = await client.chat.completions.create(
            model=MODEL_NAME,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.strip()
    assert len(chunks) > 3
    assert chunks[-1].usage is not None
    assert 0 < chunks[-1].usage.completion_tokens <= 8


@pytest.mark.integration
async def test_more_calls_than_slots_wait_and_succeed(running: LocalEndpoint) -> None:
    async with worker_at(running.base_url) as worker:
        prompts = [f"Name a colour. Number {number}." for number in range(5)]
        outputs = await asyncio.gather(*(worker.run(ask(prompt, max_output_tokens=6)) for prompt in prompts))
    assert all(output.success and output.content.strip() for output in outputs)


@pytest.mark.integration
async def test_a_schema_is_obeyed(running: LocalEndpoint) -> None:
    schema = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": ["positive", "negative"]},
            "sure": {"type": "boolean"},
        },
        "required": ["label", "sure"],
        "additionalProperties": False,
    }
    async with worker_at(running.base_url) as worker:
        output = await worker.run(ask("Sentiment of: I love this!", json_schema=schema, max_output_tokens=40))
    answer = json.loads(output.content)
    assert answer["label"] in ("positive", "negative")
    assert isinstance(answer["sure"], bool)


@pytest.mark.integration
def test_one_that_was_to_stay_leaves_nothing_behind_when_another_object_stops_it(tmp_path: Path) -> None:
    staying = ensure_running(SMALL, tmp_path, owned=False)
    pid = staying.pid
    assert pid is not None
    del staying
    assert LocalEndpoint(SMALL, tmp_path).stop(), "`orchestai up --stop`"
    with pytest.raises(ChildProcessError):  # neither a process nor a zombie of ours is left
        os.waitpid(pid, os.WNOHANG)


@pytest.mark.integration
async def test_after_a_crash_the_call_fails_cleanly_and_start_recovers(tmp_path: Path) -> None:
    endpoint = LocalEndpoint(SMALL, tmp_path)
    with pytest.raises(EndpointError, match="not running"):
        _ = endpoint.base_url
    endpoint.start()
    try:
        url, pid = endpoint.base_url, endpoint.pid
        with pytest.raises(EndpointError, match="runs already"):
            endpoint.start()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert wait_for_end(pid)
        assert not endpoint.running
        async with worker_at(url) as worker:
            with pytest.raises(WorkerUnavailableError):
                await worker.run(ask("Hello"))
            endpoint.start()
            assert endpoint.pid != pid
            assert endpoint.base_url == url, "holders of the address go on working"
            assert (await worker.run(ask("Hello", max_output_tokens=4))).content
    finally:
        assert endpoint.stop()
    assert not endpoint.running
    assert not (tmp_path / "run" / "endpoint.json").exists()
    assert "listening on http://127.0.0.1:" in (tmp_path / "logs" / "endpoint.log").read_text()


OWNER = """
import sys, time
from pathlib import Path
from orchestai.config import EndpointConfig
from orchestai.endpoint import ensure_running
config = EndpointConfig(port=0, context_tokens=256, startup_timeout_s=30)
endpoint = ensure_running(config, Path(sys.argv[1]), owned=sys.argv[2] == "owned")
print(endpoint.pid, flush=True)
time.sleep(60)
"""


def start_owner(home: Path, mode: str) -> tuple[subprocess.Popen[str], int]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(home), mode], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def wait_for_end(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while process_birth(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return process_birth(pid) is None


@pytest.mark.integration
def test_an_owned_server_ends_with_its_owner_and_is_not_borrowed(tmp_path: Path) -> None:
    owner, pid = start_owner(tmp_path, "owned")
    try:
        # Its owner may end at any time, so we get one of our own.
        endpoint = ensure_running(SMALL, tmp_path)
        assert endpoint.pid != pid
        assert endpoint.stop()
        assert process_birth(pid) is not None, "stopping ours must not touch theirs"
    finally:
        kill(owner)
    assert wait_for_end(pid)


@pytest.mark.integration
def test_a_staying_server_outlives_its_starter_and_is_reused(tmp_path: Path) -> None:
    starter, pid = start_owner(tmp_path, "staying")
    kill(starter)
    try:
        time.sleep(0.2)
        assert process_birth(pid) is not None
        endpoint = ensure_running(SMALL, tmp_path)
        assert endpoint.pid == pid
        assert not endpoint.stop(), "who only found it leaves it alone"
        assert process_birth(pid) is not None
    finally:
        assert LocalEndpoint(SMALL, tmp_path).stop(), "`orchestai up --stop`"
    assert wait_for_end(pid)
    assert not LocalEndpoint(SMALL, tmp_path).stop()


def test_a_taken_port_is_named_with_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        endpoint = LocalEndpoint(SMALL.model_copy(update={"port": port}), tmp_path)
        with pytest.raises(EndpointError, match=rf"{port}: the port is taken.*endpoint\.port"):
            endpoint.start()


def test_a_foreign_address_is_refused(tmp_path: Path) -> None:
    endpoint = LocalEndpoint(SMALL.model_copy(update={"host": "192.0.2.1", "port": 8451}), tmp_path)
    with pytest.raises(EndpointError, match=r"endpoint\.host"):
        endpoint.start()


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    endpoint = LocalEndpoint(SMALL.model_copy(update={"host": "nobody.invalid"}), tmp_path)
    endpoint._choose_port = lambda: 0  # type: ignore[method-assign]  # get past our own check
    with pytest.raises(EndpointError, match=r"ended at once.*Last lines of its log") as caught:
        endpoint.start()
    assert "endpoint.log" in str(caught.value)
    assert not endpoint.running


def test_a_server_that_is_too_slow_is_ended(tmp_path: Path) -> None:
    endpoint = LocalEndpoint(SMALL.model_copy(update={"startup_timeout_s": 0.01}), tmp_path)
    with pytest.raises(EndpointError, match=r"did not answer within 0\.01 s"):
        endpoint.start()
    assert not endpoint.running


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="ORCHESTAI_HOME"):
        LocalEndpoint(SMALL, tmp_path / "file").start()


def test_state_of_a_dead_or_other_process_is_forgotten(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    birth = process_birth(os.getpid())
    assert birth is not None
    mine = EndpointState(pid=os.getpid(), born=birth, host="127.0.0.1", port=1, started=0.0)
    file.write(mine)
    assert file.read() == mine
    file.forget(pid=1)
    assert file.read() == mine
    # The pid lives, but as another process: it was born at another time.
    file.write(mine.model_copy(update={"born": birth + 1}))
    assert file.read() is None
    assert not (tmp_path / "endpoint.json").exists()
    (tmp_path / "endpoint.json").write_text("{broken")
    assert file.read() is None
