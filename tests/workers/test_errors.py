"""Every way in which a server can fail, made by a real server, against the type it must become."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import io
import pickle
import socket
import traceback
from collections.abc import Callable

import pytest
from misbehaving import KEY, Exchange, MisbehavingServer, Script, completion, request
from rich.console import Console
from rich.traceback import Traceback

from orchestai.errors import (
    MalformedResponseError,
    RateLimitedError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
    is_retryable,
)
from orchestai.workers import OpenAIWorker
from orchestai.workers.status_errors import parse_retry_after

MakeWorker = Callable[..., OpenAIWorker]


def status(code: int, *, message: str = "no", headers: dict[str, str] | None = None) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json({"error": {"message": message, "type": "t"}}, code, headers=headers)

    return script


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def headers_then_reset(exchange: Exchange) -> None:
    await exchange.send(200, b'{"id": ', claimed_length=500)
    await asyncio.sleep(0.05)
    exchange.reset()


async def truncated(exchange: Exchange) -> None:
    await exchange.send(200, b'{"id": "c-1", "choices": [', claimed_length=500)
    exchange.writer.close()


async def malformed_json(exchange: Exchange) -> None:
    await exchange.send(200, b'{"id": "c-1", "choices": [')


async def html(exchange: Exchange) -> None:
    await exchange.send(200, b"<html>a portal</html>", content_type="text/html")


async def not_http(exchange: Exchange) -> None:
    exchange.writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    await exchange.writer.drain()
    exchange.writer.close()


def answers(payload: object) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json(payload)

    return script


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (status(400), WorkerRequestError),
        (status(401), WorkerAuthError),
        (status(403), WorkerAuthError),
        (status(404), WorkerRequestError),
        (status(408), WorkerTimeoutError),
        (status(413), WorkerRequestError),
        (status(422), WorkerRequestError),
        (status(429), RateLimitedError),
        (status(500), WorkerUnavailableError),
        (status(503), WorkerUnavailableError),
        (status(504), WorkerTimeoutError),
        (reset, WorkerUnavailableError),
        (headers_then_reset, WorkerUnavailableError | MalformedResponseError),
        (truncated, MalformedResponseError),
        (malformed_json, MalformedResponseError),
        (html, MalformedResponseError),
        (not_http, MalformedResponseError),
        (answers({"hello": 1}), MalformedResponseError),
        (answers([]), MalformedResponseError),
        (answers({"choices": []}), MalformedResponseError),
        (answers({"choices": [{"message": None}]}), MalformedResponseError),
        (answers({"choices": "x"}), MalformedResponseError),
        (answers(completion(content=None)), MalformedResponseError),
        (answers(completion(content="")), MalformedResponseError),
        (answers(completion(content=" \n ")), MalformedResponseError),
        (answers(completion(content=None, message={"refusal": "I will not."})), WorkerRequestError),
    ],
)
async def test_each_failure_becomes_the_most_specific_error(
    server: MisbehavingServer, make_worker: MakeWorker, script: Script, expected: type[WorkerError]
) -> None:
    server.script = script
    with pytest.raises(WorkerError) as caught:
        await make_worker().run(request())
    assert isinstance(caught.value, expected)
    assert caught.value.worker == "remote"
    assert len(server.requests) == 1, "the SDK must not retry on its own"


async def test_refused_connection(make_worker: MakeWorker) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(WorkerUnavailableError, match="endpoint is running"):
            await make_worker(f"http://127.0.0.1:{port}/v1").run(request())


async def test_unresolvable_host(make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerUnavailableError):
        await make_worker("http://nobody.invalid/v1").run(request())


@pytest.mark.parametrize("where", ["before the headers", "after the headers", "within the body"])
@pytest.mark.parametrize("limit", ["request", "profile"])
async def test_silence_ends_at_the_deadline(
    server: MisbehavingServer, make_worker: MakeWorker, where: str, limit: str
) -> None:
    async def script(exchange: Exchange) -> None:
        if where == "after the headers":
            await exchange.send(200, b"", claimed_length=100)
        elif where == "within the body":
            await exchange.send(200, b'{"id"', claimed_length=100)
        await asyncio.sleep(20)

    server.script = script
    worker = make_worker(timeout_s=0.2 if limit == "profile" else 30)
    started = asyncio.get_running_loop().time()
    with pytest.raises(WorkerTimeoutError, match=r"0\.2 s"):
        await worker.run(request(timeout_s=0.2 if limit == "request" else 30))
    assert asyncio.get_running_loop().time() - started < 2


async def test_a_trickling_body_cannot_outlive_the_deadline(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(200, b"{", claimed_length=1000)
        for _ in range(100):
            exchange.writer.write(b" ")
            await exchange.writer.drain()
            await asyncio.sleep(0.05)

    server.script = script
    with pytest.raises(WorkerTimeoutError):
        await make_worker().run(request(timeout_s=0.3))


async def test_cancellation_is_not_translated(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    async def script(_exchange: Exchange) -> None:
        await asyncio.sleep(20)

    server.script = script
    task = asyncio.create_task(make_worker().run(request()))
    await server.called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_retry_after_in_seconds(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = status(429, headers={"Retry-After": "7"})
    with pytest.raises(RateLimitedError) as caught:
        await make_worker().run(request())
    assert caught.value.retry_after_s == 7.0
    assert is_retryable(caught.value)


async def test_retry_after_as_a_date(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    server.script = status(429, headers={"Retry-After": email.utils.format_datetime(when, usegmt=True)})
    with pytest.raises(RateLimitedError) as caught:
        await make_worker().run(request())
    assert caught.value.retry_after_s is not None
    assert 80 < caught.value.retry_after_s <= 90


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-3", 0.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_odd_retry_after(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header) == seconds


async def test_auth_error_names_the_variable(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = status(401)
    with pytest.raises(WorkerAuthError, match="REMOTE_API_KEY") as caught:
        await make_worker().run(request())
    assert not is_retryable(caught.value)


async def test_a_missing_key_is_said_without_a_call(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerAuthError, match="REMOTE_API_KEY is not set"):
        await make_worker(api_key=None).run(request())
    assert server.requests == []


@pytest.mark.parametrize("code", [400, 401, 429, 500])
async def test_the_key_occurs_nowhere_in_an_error(
    server: MisbehavingServer, make_worker: MakeWorker, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server.script = status(code, message=f"Incorrect API key provided: {KEY}. Find yours at {KEY}")
    worker = make_worker()
    with pytest.raises(WorkerError) as caught:
        await worker.run(request())
    error = caught.value
    assert KEY.lower() in server.requests[0].head.lower(), "the key was really sent"
    console = Console(file=io.StringIO(), width=200)
    console.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    shown = [
        str(error),
        repr(error),
        repr(vars(error)),
        repr(worker),
        repr(pickle.loads(pickle.dumps(error))),
        "".join(traceback.format_exception(error)),
        "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()),
        console.file.getvalue(),  # type: ignore[attr-defined]
        caplog.text,
    ]
    for text in shown:
        assert KEY not in text
    assert error.__context__ is None
    assert error.__cause__ is None


async def test_a_refused_connection_does_not_show_the_key(make_worker: MakeWorker) -> None:
    with pytest.raises(WorkerUnavailableError) as caught:
        await make_worker("http://127.0.0.1:1/v1").run(request())
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in shown
