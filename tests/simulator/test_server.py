"""The server through the real SDK, and against the in-process worker: the same behaviour twice."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, DefaultAioHttpClient, NotFoundError

from orchestai.config import SimulatorConfig
from orchestai.contracts import (
    Modality,
    SimulationProfile,
    WorkerCatalog,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
)
from orchestai.errors import (
    EndpointError,
    OrchestAIError,
    RateLimitedError,
    WorkerRequestError,
    WorkerTimeoutError,
)
from orchestai.simulator import SimulatedWorker, serve
from orchestai.workers import OpenAIWorker

CONFIG = SimulatorConfig(port=0, seed=11, time_scale=0.02)
BOOK = {"What is the capital of France?": "Paris", "Write down the call.": "See you at noon."}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
WAV = b"RIFF\0\0\0\0WAVE" + b"\0" * 9000


def profile(name: str, **simulation: Any) -> WorkerProfile:
    return WorkerProfile(
        name=name,
        description="d",
        model=f"{name}-model",
        modalities=tuple(Modality),
        input_usd_per_mtok=3.0,
        output_usd_per_mtok=9.0,
        simulation=SimulationProfile(**simulation),
    )


CATALOG = WorkerCatalog(
    workers=(
        profile("steady", quality={"default": 0.6}),
        profile("flaky", error_rate=0.3, rate_limit_rate=0.3),
        WorkerProfile(name="real", description="d", model="real-model"),
    )
)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serve(CATALOG, CONFIG, references=BOOK) as server:
        yield server.base_url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=base_url, api_key="none", max_retries=0, http_client=DefaultAioHttpClient()
    ) as made:
        yield made


def requests_to_compare(folder: Path) -> list[WorkerRequest]:
    (folder / "a.wav").write_bytes(WAV)
    (folder / "a.png").write_bytes(PNG)
    image_url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    question = "Q: What is the capital of France?"
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["city", "n"],
    }
    return [
        WorkerRequest(task_type="question_answering", prompt=question),
        WorkerRequest(task_type="question_answering", prompt=question),
        WorkerRequest(task_type="question_answering", prompt=question, system="Brief.", prompt_version="q@1"),
        WorkerRequest(task_type="generation", prompt="A letter about rivers and lakes", max_output_tokens=3),
        WorkerRequest(task_type="reasoning", prompt=question, json_schema=schema),
        WorkerRequest(
            task_type="image_analysis",
            prompt="Read the sign.",
            modality=Modality.VISION,
            inputs={"image": str(folder / "a.png"), "image_2": image_url},
        ),
        WorkerRequest(
            task_type="audio_transcription",
            prompt="Write down the call.",
            system="Word for word.",
            modality=Modality.AUDIO,
            inputs={"audio": str(folder / "a.wav"), "audio_2": str(folder / "a.wav")},
        ),
    ]


async def outcome(worker: SimulatedWorker | OpenAIWorker, request: WorkerRequest) -> dict[str, Any]:
    try:
        output = await worker.run(request)
    except OrchestAIError as error:
        return {"error": type(error), "retry_after_s": getattr(error, "retry_after_s", None)}
    metadata = dict(output.metadata)
    confidence = metadata.pop("confidence")
    return {
        "content": output.content,
        "cost": output.cost,
        "metadata": metadata,
        "confidence": None if confidence is None else round(confidence, 6),
    }


@pytest.mark.parametrize("name", ["steady", "flaky"])
async def test_http_and_in_process_are_the_same(name: str, tmp_path: Path) -> None:
    worker_profile = CATALOG[name]
    inside = SimulatedWorker(worker_profile, seed=CONFIG.seed, references=BOOK, time_scale=CONFIG.time_scale)
    with serve(CATALOG, CONFIG, references=BOOK) as server:
        outside = OpenAIWorker(worker_profile, base_url=server.base_url)
        seen = []
        try:
            for request in requests_to_compare(tmp_path) * 3:
                there, here = await outcome(outside, request), await outcome(inside, request)
                assert there == here
                seen.append(here)
        finally:
            await outside.aclose()
    if name == "steady":
        assert all(one["metadata"]["simulated"] for one in seen)
        assert all(one["cost"] > 0 for one in seen)
        assert "Paris" in {one["content"] for one in seen}
        assert len({one["metadata"]["simulated_latency_ms"] for one in seen}) == len(seen)
    else:
        assert len({one.get("error") for one in seen}) == 3, "answers, 500s and 429s all occur"
        assert {one["retry_after_s"] for one in seen if one.get("error") is RateLimitedError} == {0.02}


async def test_models_and_health(client: AsyncOpenAI, base_url: str) -> None:
    assert [model.id async for model in client.models.list()] == [
        "steady-model",
        "flaky-model",
        "sim-embedding",
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.get(base_url.replace("/v1", "/healthz")) as response,
    ):
        assert (response.status, await response.json()) == (200, {"status": "ok", "simulated": True})


async def test_every_answer_says_that_it_is_simulated(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="steady-model", messages=[{"role": "user", "content": "Hello there"}]
    )
    assert raw.headers["x-orchestai-simulated"] == "true"
    assert raw.parse().system_fingerprint == "simulated"


async def test_streaming_gives_the_same_text_and_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="steady-model",
        messages=[{"role": "user", "content": "Tell me about long rivers and deep lakes."}],
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"x-orchestai-task-type": "generation"},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("Dear reader,")
    assert text.endswith("Kind regards")
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == -(-len(text) // 4)
    assert usage.prompt_tokens == 11  # 41 characters
    assert chunks[0].system_fingerprint == "simulated"


async def test_the_task_type_may_come_in_metadata(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        model="steady-model",
        messages=[{"role": "user", "content": "Add 20 and 22"}],
        metadata={"task_type": "reasoning"},
    )
    assert completion.choices[0].message.content == "Together that makes 42."


async def test_embeddings_depend_on_the_words(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="sim-embedding", input=["red fox", "fox red", "blue whale"])
    first, second, third = (item.embedding for item in answer.data)
    assert len(first) == 64
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-5)
    assert first == pytest.approx(second, abs=1e-6)
    assert first != pytest.approx(third, abs=0.05)
    plain = await client.embeddings.create(model="sim-embedding", input="red fox", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(first, abs=1e-6)


async def test_an_unknown_model_is_a_404_in_openai_format(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.chat.completions.create(model="real-model", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    assert "steady-model" in caught.value.message


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/chat/completions", b"{broken", 400, "not valid JSON"),
        ("/chat/completions", b"[1]", 400, "JSON object"),
        ("/chat/completions", b"[" * 100_000, 400, "not valid JSON"),
        ("/chat/completions", b'{"model": "steady-model"}', 400, "`messages`"),
        ("/chat/completions", b'{"model": "steady-model", "messages": [1]}', 400, "`messages`"),
        (
            "/chat/completions",
            b'{"model": "steady-model", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}',
            400,
            "`max_tokens`",
        ),
        ("/embeddings", b'{"model": "sim-embedding", "input": 3}', 400, "`input`"),
        ("/audio/transcriptions", b"{}", 400, "multipart"),
        ("/nothing", b"{}", 404, "POST /v1/nothing"),
    ],
)
async def test_bad_requests_get_openai_errors(base_url: str, path: str, body: bytes, status: int, message: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(base_url + path, data=body) as response:
        assert response.status == status
        error = (await response.json())["error"]
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_a_form_without_file_is_refused(base_url: str) -> None:
    with aiohttp.MultipartWriter("form-data") as form:
        form.append("steady-model").set_content_disposition("form-data", name="model")
    async with (
        aiohttp.ClientSession() as session,
        session.post(base_url + "/audio/transcriptions", data=form) as response,
    ):
        assert response.status == 400
        assert "`file`" in (await response.json())["error"]["message"]


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = CONFIG.model_copy(update={"port": port})
        with (
            pytest.raises(EndpointError, match=rf"{port}: the port is taken.*simulator\.port"),
            serve(CATALOG, taken),
        ):
            pass


def test_a_catalog_without_simulated_workers_is_refused() -> None:
    with (
        pytest.raises(EndpointError, match="no simulated worker"),
        serve(WorkerCatalog(workers=(CATALOG["real"],)), CONFIG),
    ):
        pass


def test_the_port_is_free_again_after_the_block() -> None:
    with serve(CATALOG, CONFIG) as first:
        port = int(first.base_url.split(":")[2].split("/")[0])
    with serve(CATALOG, CONFIG.model_copy(update={"port": port})) as second:
        assert second.base_url == first.base_url


async def run_slow(**more: Any) -> WorkerOutput:
    slow = profile("slow", latency_ms=200, latency_sigma=0)
    request = WorkerRequest(task_type="generation", prompt="About rivers", **more)
    return await SimulatedWorker(slow, time_scale=0.5).run(request)


async def test_latency_is_slept_and_measured() -> None:
    output = await run_slow()
    assert 99 <= output.latency_ms < 400  # 200 ms at half scale
    assert output.metadata["simulated_latency_ms"] == 200


async def test_in_process_deadline() -> None:
    with pytest.raises(WorkerTimeoutError, match=r"0\.02 s"):
        await run_slow(timeout_s=0.02)


@pytest.mark.parametrize("inputs", [{}, {"image": "/no/such.png"}, {"image": "data:image/png;base64,!"}])
async def test_in_process_media_are_checked(inputs: dict[str, str]) -> None:
    with pytest.raises(WorkerRequestError, match="image"):
        await run_slow(modality=Modality.VISION, inputs=inputs)


async def test_in_process_calls_overlap() -> None:
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(run_slow() for _ in range(20)))
    assert asyncio.get_running_loop().time() - started < 1
