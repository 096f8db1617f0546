"""Streamed chat against a real server that cuts, breaks, lies and falls silent."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from misbehaving import KEY, Exchange, MisbehavingServer, Script, completion, request

from orchestai.contracts import Modality, StreamingWorker, WorkerOutput
from orchestai.errors import (
    MalformedResponseError,
    RateLimitedError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)
from orchestai.workers import OpenAIWorker, stream_answer

MakeWorker = Callable[..., OpenAIWorker]
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


def chunk(content: str | None = None, *, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"model": "served-model", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | more


def sse(*events: object) -> bytes:
    return b"".join(
        b"data: " + (event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()) + b"\n\n"
        for event in events
    )


GOOD = sse(chunk("Pa"), chunk("ris"), chunk(finish="stop"), {"choices": [], "usage": USAGE}, b"[DONE]")


def streams(body: bytes, *, size: int | None = None, ending: str = "whole", headers: str = "") -> Script:
    """Send `body` in HTTP chunks of `size` bytes; `ending` is whole, cut (no last chunk) or silence."""

    async def script(exchange: Exchange) -> None:
        writer = exchange.writer
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" + headers.encode())
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        step = size or max(len(body), 1)
        for start in range(0, len(body), step):
            part = body[start : start + step]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            if size is not None:
                await asyncio.sleep(0)
        if ending == "whole":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif ending == "cut":
            writer.close()
        else:
            await asyncio.sleep(20)

    return script


async def collect(worker: Any, **fields: Any) -> tuple[list[str], WorkerOutput]:
    items = [item async for item in worker.stream(request(**fields))]
    *pieces, output = items
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert isinstance(output, WorkerOutput)
    return pieces, output


async def test_pieces_come_first_and_the_output_last(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = streams(GOOD, headers="x-orchestai-simulated: true\r\n")
    worker = make_worker()
    assert isinstance(worker, StreamingWorker)
    pieces, output = await collect(worker, system="Be brief.")
    sent = server.requests[0].json()
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert pieces == ["Pa", "ris"]
    assert output.content == "Paris"
    assert output.cost == pytest.approx(54e-6)
    assert output.metadata == {
        "model": "served-model",
        "simulated": True,
        "prompt_version": None,
        "input_tokens": 12,
        "output_tokens": 3,
        "usage_estimated": False,
        "finish_reason": "stop",
        "confidence": None,
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_no_cut_breaks_a_character(server: MisbehavingServer, make_worker: MakeWorker, size: int) -> None:
    text = ["Grüße, ", "日本 ", "🙂🏳️‍🌈", " é"]
    server.script = streams(sse(*map(chunk, text), chunk(finish="stop"), b"[DONE]"), size=size)
    pieces, output = await collect(make_worker())
    assert "".join(pieces) == output.content == "".join(text)
    assert output.metadata["usage_estimated"] is True


async def test_a_character_in_two_halves_is_joined(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    halves = [
        b'{"choices": [{"delta": {"content": "a\\ud83d"}}]}',
        b'{"choices": [{"delta": {"content": "\\ude42b"}}]}',
    ]
    lone = b'{"choices": [{"delta": {"content": "\\ud83d"}, "finish_reason": "stop"}]}'
    server.script = streams(sse(*halves, lone, b"[DONE]"))
    pieces, output = await collect(make_worker())
    assert output.content == "a🙂b\ufffd"
    assert pieces == ["a", "🙂b", "\ufffd"]


async def test_the_socket_is_used_again_after_a_whole_stream(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    server.script = streams(GOOD)
    worker = make_worker()
    for _ in range(3):
        await collect(worker)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("script", "expected", "pieces"),
    [
        (streams(sse(chunk("Pa")), ending="cut"), MalformedResponseError, ["Pa"]),
        (streams(sse(chunk("Pa"))), MalformedResponseError, ["Pa"]),
        (streams(sse(chunk("Pa"))[:-5]), MalformedResponseError, []),
        (streams(b""), MalformedResponseError, []),
        (streams(sse(chunk("Pa"), b'{"choices": [')), MalformedResponseError, ["Pa"]),
        (streams(sse(b"[1, 2]")), MalformedResponseError, []),
        (streams(sse(b"\xff\xfe")), MalformedResponseError, []),
        (streams(b"data: " + b"x" * (2**20 + 9)), MalformedResponseError, []),
        (streams(sse(chunk(finish="stop"), b"[DONE]")), MalformedResponseError, []),
        (streams(sse(chunk("Pa"), {"error": {"message": "overloaded", "code": 503}})), WorkerUnavailableError, ["Pa"]),
        (streams(sse({"error": {"message": "slow", "type": "rate_limit_error"}})), RateLimitedError, []),
        (streams(sse({"error": "no more"})), WorkerUnavailableError, []),
        (streams(sse({"choices": [{"delta": {"refusal": "I will not."}}]})), WorkerRequestError, []),
    ],
    ids=[
        "connection lost", "ends early", "ends inside an event", "empty", "half JSON", "other JSON", "not UTF-8",
        "endless event", "no text", "error event", "rate limit event", "bare error event", "refusal",
    ],
)  # fmt: skip
async def test_each_failure_becomes_the_most_specific_error(
    server: MisbehavingServer, make_worker: MakeWorker, script: Script, expected: type[WorkerError], pieces: list[str]
) -> None:
    server.script = script
    seen: list[Any] = []

    async def read() -> None:
        async for item in make_worker().stream(request()):
            seen.append(item)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(WorkerError) as caught:
        await read()
    assert type(caught.value) is expected
    assert seen == pieces


async def test_a_missing_done_is_forgiven_after_a_finish_reason(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    server.script = streams(sse(chunk("Paris", finish="length")))
    _, output = await collect(make_worker())
    assert output.content == "Paris"
    assert output.metadata["finish_reason"] == "length"


async def test_a_status_is_translated_as_for_whole_answers(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json({"error": {"message": f"bad key {KEY}"}}, 401)

    server.script = script
    with pytest.raises(WorkerAuthError, match=r"bad key \[key\]"):
        await collect(make_worker())


async def test_an_error_event_does_not_show_the_key(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = streams(sse(chunk("Pa"), {"error": {"message": f"{KEY} is bad", "code": 401}}))
    with pytest.raises(WorkerAuthError) as caught:
        await collect(make_worker())
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in shown
    assert "[key] is bad" in str(caught.value)


async def test_an_endpoint_that_does_not_stream_answers_in_one_piece(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json(completion("Paris"))

    server.script = script
    pieces, output = await collect(make_worker())
    assert pieces == ["Paris"]
    assert output.metadata["input_tokens"] == 12


async def test_json_is_checked_at_the_end(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = streams(GOOD)
    with pytest.raises(MalformedResponseError, match="asked for JSON") as caught:
        await collect(make_worker(), json_schema={"type": "object"})
    assert caught.value.answer == "Paris"


async def test_silence_ends_at_the_deadline(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = streams(sse(chunk("Pa")), ending="silence")
    with pytest.raises(WorkerTimeoutError, match=r"0\.2 s"):
        await collect(make_worker(), timeout_s=0.2)


async def test_a_slow_reader_does_not_use_up_the_deadline(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    rested = asyncio.Event()

    async def in_two_parts(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        first, rest = GOOD.split(b"\n\n", 1)
        exchange.writer.write(head + first + b"\n\n")
        await rested.wait()
        exchange.writer.write(rest)
        exchange.writer.close()

    server.script = in_two_parts
    seen = []
    async for item in make_worker().stream(request(timeout_s=0.4)):
        seen.append(item)
        if not rested.is_set():
            await asyncio.sleep(0.6)
            rested.set()
    assert seen[:2] == ["Pa", "ris"]
    assert isinstance(seen[2], WorkerOutput)


async def test_the_pieces_together_keep_to_the_deadline(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    async def drip(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(100):
            exchange.writer.write(sse(chunk("x")))
            await exchange.writer.drain()
            await asyncio.sleep(0.1)

    server.script = drip
    with pytest.raises(WorkerTimeoutError, match=r"0\.35 s"):
        await collect(make_worker(), timeout_s=0.35)


async def test_a_stream_has_a_size_limit(
    server: MisbehavingServer, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestai.workers.chat_stream.MAX_JSON_BYTES", 5000)
    server.script = streams(sse(*[chunk("x")] * 100), size=200)
    with pytest.raises(MalformedResponseError, match="5,000"):
        await collect(make_worker())


@pytest.mark.parametrize("how", ["left", "cancelled"])
async def test_the_socket_closes_when_nobody_reads_on(
    server: MisbehavingServer, make_worker: MakeWorker, how: str
) -> None:
    gone = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        writer = exchange.writer
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        part = sse(chunk("Pa"))
        writer.write(head + f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await writer.drain()
        await exchange.hung_up()
        gone.set()

    server.script = endless
    worker = make_worker()
    first = asyncio.Event()

    async def read() -> None:
        async with aclosing(worker.stream(request())) as items:
            async for item in items:
                assert item == "Pa"
                first.set()
                if how == "left":
                    break

    task = asyncio.create_task(read())
    await first.wait()
    if how == "cancelled":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await task
    async with asyncio.timeout(5):
        await gone.wait()


async def test_a_worker_that_cannot_stream_gives_its_answer_in_one_piece(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    class Whole:
        def __init__(self, worker: OpenAIWorker) -> None:
            self.profile = worker.profile
            self.run = worker.run
            self.aclose = worker.aclose

    async def script(exchange: Exchange) -> None:
        await exchange.send_json(completion("Paris"))

    server.script = script
    items = [item async for item in stream_answer(Whole(make_worker()), request())]
    assert items[0] == "Paris"
    assert isinstance(items[1], WorkerOutput)


async def test_a_missing_image_is_said_before_any_call(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerRequestError, match="Add the input `image`"):
        await collect(make_worker(), modality=Modality.VISION)
    assert server.requests == []
