from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from misbehaving import Exchange, MisbehavingServer

from orchestai.config import SimulatorConfig
from orchestai.contracts import Modality, SimulationProfile, WorkerCatalog, WorkerProfile
from orchestai.errors import MalformedResponseError, RateLimitedError, WorkerRequestError, WorkerTimeoutError
from orchestai.simulator.serving import serve
from orchestai.workers import OpenAIWorker

MakeWorker = Callable[..., OpenAIWorker]
VECTORS = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, 0.25]], dtype=np.float32)


def packed(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def answer(*embeddings: object, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(embeddings)]
    return {"object": "list", "model": "served", "data": data, "usage": {"prompt_tokens": 9, "total_tokens": 9}} | more


def script_of(payload: object, status: int = 200, **more: Any) -> Callable[[Exchange], Any]:
    async def script(exchange: Exchange) -> None:
        await exchange.send(status, json.dumps(payload).encode(), **more)

    return script


@pytest.mark.parametrize("form", ["base64", "numbers"])
async def test_vectors_come_in_the_order_of_the_texts(
    server: MisbehavingServer, make_worker: MakeWorker, form: str
) -> None:
    values = [packed(row) if form == "base64" else row.tolist() for row in VECTORS]
    payload = answer(*values)
    payload["data"].reverse()
    server.script = script_of(payload)
    output = await make_worker().embed(["a", "b"])
    sent = server.requests[0]
    assert sent.head.startswith("POST /v1/embeddings ")
    assert sent.json() == {"model": "m-1", "input": ["a", "b"], "encoding_format": "base64"}
    assert output.vectors.dtype == np.float32
    np.testing.assert_array_equal(output.vectors, VECTORS)
    assert (output.model, output.input_tokens, output.usage_estimated) == ("served", 9, False)
    assert output.cost_usd == pytest.approx(9 * 2.0 / 1e6)
    assert output.latency_ms > 0


async def test_missing_usage_is_estimated(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = script_of(answer([1.0], [2.0], usage=None))
    output = await make_worker().embed(["12345678", "1"])
    assert (output.input_tokens, output.usage_estimated) == (3, True)


@pytest.mark.parametrize(
    "payload",
    [
        {"hello": 1},
        answer(),
        answer([1.0]),
        answer([1.0], [2.0], [3.0]),
        answer([1.0], [1.0, 2.0]),
        answer([1.0], []),
        answer([1.0], "!!!"),
        answer([1.0], base64.b64encode(b"abc").decode()),
        answer([1.0], None),
        answer([1.0], ["x"]),
        answer([1.0], [[1.0]]),
        answer([1.0], [float("nan")]),
        answer([1.0], [1e300]),
        answer([1.0], [True, {}]),
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 5, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": "0", "embedding": [1.0]}, {"index": 1, "embedding": [1.0]}]},
        {"data": ["x", "y"]},
    ],
)
async def test_anything_else_is_malformed(server: MisbehavingServer, make_worker: MakeWorker, payload: object) -> None:
    server.script = script_of(payload)
    with pytest.raises(MalformedResponseError):
        await make_worker().embed(["a", "b"])


async def test_errors_are_those_of_every_call(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    worker = make_worker()
    server.script = script_of({"error": {"message": "slow"}}, 429, headers={"Retry-After": "3"})
    with pytest.raises(RateLimitedError) as caught:
        await worker.embed(["a"])
    assert caught.value.retry_after_s == 3.0

    async def silent(exchange: Exchange) -> None:
        await exchange.hung_up()

    server.script = silent
    with pytest.raises(WorkerTimeoutError):
        await worker.embed(["a"], timeout_s=0.1)


async def test_what_cannot_be_embedded(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerRequestError, match="does not do 'embedding'"):
        await make_worker(modalities=(Modality.CHAT,)).embed(["a"])
    with pytest.raises(WorkerRequestError, match="no texts"):
        await make_worker().embed([])
    assert server.requests == []


async def test_the_simulators_embeddings_are_read() -> None:
    simulated = WorkerProfile(name="sim", description="d", model="sim", simulation=SimulationProfile())
    with serve(WorkerCatalog(workers=(simulated,)), SimulatorConfig(port=0)) as running:
        profile = WorkerProfile(
            name="e",
            description="d",
            model="sim-embedding",
            modalities=(Modality.EMBEDDING,),
            base_url=running.base_url,
        )
        worker = OpenAIWorker(profile, base_url=running.base_url)
        output = await worker.embed(["red roses", "red roses", "blue"])
        await worker.aclose()
    np.testing.assert_allclose(np.linalg.norm(output.vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(output.vectors[0], output.vectors[1])
    assert not np.array_equal(output.vectors[0], output.vectors[2])
