"""The stub speaks what clients expect, and the bench of clients measures all four of them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import client
from bench.stub import ANSWER, INPUT_TOKENS, PIECES, RunningStub, running_stub
from orchestai.contracts import Modality, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.workers import OpenAIWorker


@pytest.fixture(scope="module")
def stub() -> Iterator[RunningStub]:
    with running_stub(delay_ms=5) as running:
        yield running


def worker_of(stub: RunningStub) -> OpenAIWorker:
    profile = WorkerProfile(
        name="stub",
        description="d",
        model="stub",
        base_url=stub.base_url,
        modalities=(Modality.CHAT, Modality.EMBEDDING),
    )
    return OpenAIWorker(profile, base_url=stub.base_url)


async def test_the_stub_answers_whole_streamed_and_embedded(stub: RunningStub) -> None:
    worker = worker_of(stub)
    request = WorkerRequest(task_type="t", prompt="x" * 70_000)  # more than one read of the socket
    for _ in range(3):
        whole = await worker.run(request)
        *pieces, streamed = [item async for item in worker.stream(request)]
        assert pieces == [piece for piece in PIECES if piece]
        assert isinstance(streamed, WorkerOutput)
        for output in (whole, streamed):
            assert output.content == ANSWER
            assert output.metadata["input_tokens"] == INPUT_TOKENS
            assert output.metadata["usage_estimated"] is False
        assert (await worker.embed(["a"])).vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    await worker.aclose()


def test_the_stub_lists_its_model(stub: RunningStub) -> None:
    with urllib.request.urlopen(f"{stub.base_url}/models") as response:
        assert json.load(response)["data"][0]["id"] == "stub"


def test_the_bench_measures_every_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "client.json"
    arguments = ["--out", str(out), "--concurrency", "2", "4", "--seconds", "0.05", "--rounds", "2", "--delay-ms", "5"]
    assert client.main(arguments) == 0
    report = json.loads(out.read_text())
    assert report["bench"] == "client"
    assert set(report["results"]) == {"2", "4"}
    for clients in report["results"].values():
        assert list(clients) == ["openai", "openai_aiohttp", "aiohttp", "orchestai"]
        for values in clients.values():
            assert values["cpu_ms_per_call"] > 0
            assert 0 < values["share_of_ideal"] <= 1
            assert values["calls_per_s"] > 0
    assert "orchestai" in capsys.readouterr().out
