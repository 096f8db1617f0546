"""What a worker sends and what it makes of a good answer."""

from __future__ import annotations

import asyncio
import base64
import math
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from misbehaving import KEY, Exchange, MisbehavingServer, Script, completion, request

from orchestai.contracts import Modality
from orchestai.errors import MalformedResponseError, WorkerRequestError
from orchestai.workers import OpenAIWorker

MakeWorker = Callable[..., OpenAIWorker]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def answers(payload: object, **more: object) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json(payload, **more)  # type: ignore[arg-type]

    return script


async def test_chat_sends_the_request_and_reads_the_answer(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion("Paris"))
    output = await make_worker().run(
        request(system="Be brief.", temperature=0.5, max_output_tokens=17, prompt_version="qa@2")
    )
    sent = server.requests[0]
    assert sent.head.startswith("POST /v1/chat/completions ")
    assert f"Bearer {KEY}" in sent.head
    assert sent.json() == {
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Capital of France?"},
        ],
        "temperature": 0.5,
        "max_tokens": 17,
    }
    assert output.content == "Paris"
    assert output.success
    # 12 tokens at $2 a million and 3 at $10 a million: 24e-6 + 30e-6.
    assert output.cost == pytest.approx(54e-6)
    assert 0 < output.latency_ms < 5000
    assert output.metadata == {
        "model": "served-model",
        "simulated": False,
        "prompt_version": "qa@2",
        "input_tokens": 12,
        "output_tokens": 3,
        "usage_estimated": False,
        "finish_reason": "stop",
        "confidence": None,
    }


async def test_missing_usage_is_estimated_and_flagged(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion("123456789", usage=None))
    output = await make_worker().run(request(system="abcd", prompt="efghi"))
    assert output.metadata["usage_estimated"] is True
    assert output.metadata["input_tokens"] == 3  # 9 characters
    assert output.metadata["output_tokens"] == 3
    assert output.cost == pytest.approx((3 * 2 + 3 * 10) / 1e6)


async def test_confidence_is_the_mean_token_probability(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    tokens = [{"token": "a", "logprob": math.log(0.5)}, {"token": "b", "logprob": math.log(0.9)}]
    server.script = answers(completion("ab", choice={"logprobs": {"content": tokens}}))
    output = await make_worker(base_url=None).run(request())
    assert output.metadata["confidence"] == pytest.approx(0.7)
    assert "logprobs" not in server.requests[0].json(), "a foreign endpoint may refuse the question"


async def test_endpoints_of_ours_are_asked_for_probabilities(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    server.script = answers(completion("ab"))
    worker = make_worker()
    ours = OpenAIWorker(worker.profile.model_copy(update={"base_url": None}), base_url=server.base_url, api_key=KEY)
    await ours.run(request())
    await ours.aclose()
    assert server.requests[0].json()["logprobs"] is True


async def test_json_schema_becomes_the_response_format(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    server.script = answers(completion('{"a": 1}'))
    output = await make_worker().run(request(json_schema=schema))
    assert output.content == '{"a": 1}'
    assert server.requests[0].json()["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


async def test_json_that_was_cut_off_is_malformed(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion('{"a": [1, 2', choice={"finish_reason": "length"}))
    with pytest.raises(MalformedResponseError, match="allow more output tokens"):
        await make_worker().run(request(json_schema={"type": "object"}))


async def test_vision_sends_path_and_data_url_as_image_parts(
    server: MisbehavingServer, make_worker: MakeWorker, tmp_path: Path
) -> None:
    image = tmp_path / "dot.dat"  # the bytes decide, not the name
    image.write_bytes(PNG)
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    server.script = answers(completion("A dot."))
    output = await make_worker().run(
        request(modality=Modality.VISION, inputs={"image": str(image), "image_2": url, "text": "x"})
    )
    assert output.content == "A dot."
    parts = server.requests[0].json()["messages"][0]["content"]
    assert parts == [
        {"type": "text", "text": "Capital of France?"},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": {"url": url}},
    ]


def write_wav(path: Path) -> Path:
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(b"\0\0" * 800)
    return path


async def test_audio_goes_to_the_transcriptions_endpoint(
    server: MisbehavingServer, make_worker: MakeWorker, tmp_path: Path
) -> None:
    recording = write_wav(tmp_path / "talk.wav")
    server.script = answers({"text": "Good morning."})
    output = await make_worker().run(request(modality=Modality.AUDIO, inputs={"audio": str(recording)}))
    sent = server.requests[0]
    assert sent.head.startswith("POST /v1/audio/transcriptions ")
    assert recording.read_bytes() in sent.body
    assert b'filename="talk.wav"' in sent.body
    assert b"Capital of France?" not in sent.body, "a real transcriber takes `prompt` for speech"
    assert output.content == "Good morning."
    assert output.metadata["usage_estimated"] is True


async def test_usage_of_transcriptions_is_added_up(
    server: MisbehavingServer, make_worker: MakeWorker, tmp_path: Path
) -> None:
    path = str(write_wav(tmp_path / "talk.wav"))
    usage = {"type": "tokens", "input_tokens": 10, "output_tokens": 4, "total_tokens": 14}
    server.script = answers({"text": "Hello.", "usage": usage})
    output = await make_worker().run(request(modality=Modality.AUDIO, inputs={"audio": path, "audio_2": path}))
    assert output.content == "Hello.\n\nHello."
    assert (output.metadata["input_tokens"], output.metadata["output_tokens"]) == (20, 8)
    assert output.cost == pytest.approx((20 * 2 + 8 * 10) / 1e6)


@pytest.mark.parametrize(
    ("modality", "make_input", "message"),
    [
        (Modality.VISION, lambda folder: folder / "none.png", "does not exist"),
        (Modality.AUDIO, lambda folder: folder / "none.wav", "does not exist"),
        (Modality.VISION, lambda folder: folder, "is a directory"),
        (Modality.VISION, lambda folder: write_wav(folder / "x.png"), "audio/wav.*PNG, JPEG"),
        (Modality.AUDIO, lambda folder: _write(folder / "x.wav", PNG), "image/png.*WAV, MP3"),
        (Modality.VISION, lambda folder: _write(folder / "x.png", b"hello"), "unknown format"),
        (Modality.VISION, lambda folder: _write(folder / "x.png", b""), "unknown format"),
        (Modality.VISION, lambda folder: _write(folder / "x.png", PNG, 20 * 2**20 + 1), "20,971,520"),
        (Modality.VISION, lambda _folder: "data:image/png;base64,!!!", "cannot be decoded"),
        (Modality.VISION, lambda _folder: "data:image/png,abc", "cannot be decoded"),
        (Modality.VISION, lambda _folder: "a\0b", "cannot be read|does not exist"),
    ],
)
async def test_a_wrong_file_is_refused_before_any_call(
    server: MisbehavingServer,
    make_worker: MakeWorker,
    tmp_path: Path,
    modality: Modality,
    make_input: Callable[[Path], object],
    message: str,
) -> None:
    name = "image" if modality is Modality.VISION else "audio"
    with pytest.raises(WorkerRequestError, match=message):
        await make_worker().run(request(modality=modality, inputs={name: str(make_input(tmp_path))}))
    assert server.requests == []


def _write(path: Path, content: bytes, size: int | None = None) -> Path:
    path.write_bytes(content)
    if size is not None:
        with path.open("ab") as file:
            file.truncate(size)
    return path


async def test_a_missing_input_names_the_remedy(make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerRequestError, match="Add the input `image`"):
        await make_worker().run(request(modality=Modality.VISION, inputs={"text": "x"}))


async def test_a_modality_that_it_lacks_is_refused(make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerRequestError, match="does not do 'vision'"):
        await make_worker(modalities=(Modality.CHAT,)).run(request(modality=Modality.VISION))


async def test_connections_are_reused(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion("Paris"))
    worker = make_worker()
    for _ in range(5):
        await worker.run(request())
    assert len(server.requests) == 5
    assert server.connections == 1


def test_the_sdk_loads_with_the_first_call_only() -> None:
    code = (
        "import sys, orchestai.workers, orchestai.simulator, orchestai.endpoint;"
        "print([m for m in ('openai', 'aiohttp', 'xllamacpp', 'torch') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_one_worker_serves_several_event_loops() -> None:
    """A host that calls `asyncio.run` twice must not meet the sockets of a dead loop."""
    from misbehaving import misbehaving_server

    from orchestai.contracts import WorkerProfile
    from orchestai.workers import ClientPool

    pool = ClientPool()

    async def once() -> str:
        async with misbehaving_server() as server:
            server.script = answers(completion("Paris"))
            profile = WorkerProfile(name="w", description="d", model="m", base_url=server.base_url)
            worker = OpenAIWorker(profile, base_url=server.base_url, clients=pool)
            return str((await worker.run(request())).content)

    async def last() -> None:
        await pool.aclose()

    assert asyncio.run(once()) == "Paris"
    assert asyncio.run(once()) == "Paris"
    asyncio.run(last())
