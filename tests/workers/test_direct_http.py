"""What the direct path does that the SDK used to do for us: sizes, redirects, sockets, headers, odd bodies."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import math
import socket
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misbehaving import KEY, Exchange, MisbehavingServer, Script, completion, request

from orchestai.contracts import WorkerProfile
from orchestai.errors import (
    MalformedResponseError,
    RateLimitedError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)
from orchestai.workers import ClientPool, OpenAIWorker
from orchestai.workers.http import MAX_JSON_BYTES
from orchestai.workers.status_errors import body_message, retry_after

MakeWorker = Callable[..., OpenAIWorker]


def answers(payload: object, status: int = 200, **more: Any) -> Script:
    async def script(exchange: Exchange) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await exchange.send(status, body, **more)

    return script


async def test_nothing_but_what_is_needed_is_sent(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion())
    await make_worker().run(request())
    names = {line.partition(":")[0].lower() for line in server.requests[0].head.split("\r\n")[1:] if line}
    assert names == {
        "host", "accept", "accept-encoding", "content-type", "content-length", "user-agent", "authorization",
    }  # fmt: skip


async def test_no_key_no_header(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion())
    await make_worker(api_key=None, api_key_env=None).run(request())
    assert "authorization" not in server.requests[0].head.lower()


async def test_the_line_end_of_a_key_file_is_no_part_of_the_key(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    server.script = answers(completion())
    await make_worker(api_key=f" {KEY}\n").run(request())
    assert f"Authorization: Bearer {KEY}\r\n" in server.requests[0].head


@pytest.mark.parametrize("key", ["sk-1\r\nX-Evil: 1", "sk-\u00e9", "sk\0"])
async def test_a_key_that_no_header_can_carry(server: MisbehavingServer, make_worker: MakeWorker, key: str) -> None:
    with pytest.raises(WorkerAuthError, match="REMOTE_API_KEY") as caught:
        await make_worker(api_key=key).run(request())
    assert key not in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/a%2Fb", "/v1/a%2Fb/chat/completions"),
        ("?api-version=3", "/v1/chat/completions?api-version=3"),
        ("#part", "/v1/chat/completions"),
    ],
)
async def test_the_path_is_appended_to_any_base_url(
    server: MisbehavingServer, make_worker: MakeWorker, suffix: str, target: str
) -> None:
    server.script = answers(completion())
    await make_worker(server.base_url + suffix).run(request())
    assert server.requests[0].head.startswith(f"POST {target} HTTP/1.1")


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://h/v1", "http:///v1"])
async def test_a_base_url_that_is_none(make_worker: MakeWorker, url: str) -> None:
    worker = make_worker()
    broken = OpenAIWorker(worker.profile, base_url=url, api_key=KEY)
    try:
        with pytest.raises(WorkerRequestError, match="`base_url`"):
            await broken.run(request())
    finally:
        await broken.aclose()


def test_a_password_in_the_url_is_not_shown(make_worker: MakeWorker) -> None:
    assert "hidden" not in repr(make_worker("http://user:hidden@127.0.0.1:1/v1"))


async def test_half_a_character_in_the_prompt_reaches_the_server(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    server.script = answers(completion())
    await make_worker().run(request(prompt="x\ud800y"))
    assert server.requests[0].json()["messages"][0]["content"] == "x\ud800y"


async def test_a_redirect_is_not_followed(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(b"", 307, headers={"Location": f"{server.base_url}/elsewhere"})
    with pytest.raises(WorkerRequestError, match="redirects"):
        await make_worker().run(request())
    assert len(server.requests) == 1


@pytest.mark.parametrize("claimed", [True, False])
async def test_an_answer_has_a_size_limit(server: MisbehavingServer, make_worker: MakeWorker, claimed: bool) -> None:
    gone = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if claimed:
            await exchange.send(200, b"", claimed_length=100 * MAX_JSON_BYTES)
        else:
            exchange.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        try:
            for _ in range(MAX_JSON_BYTES // 2**16 + 200):
                exchange.writer.write(b" " * 2**16)
                await exchange.writer.drain()
        except ConnectionError:
            gone.set()
            raise

    server.script = script
    with pytest.raises(MalformedResponseError, match="16,777,216"):
        await make_worker(timeout_s=30).run(request())
    async with asyncio.timeout(10):
        await gone.wait()


async def test_what_unpacks_beyond_the_limit_is_refused_too(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    bomb = gzip.compress(b" " * (MAX_JSON_BYTES + 2**20))
    assert len(bomb) < 100_000
    server.script = answers(bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(MalformedResponseError):
        await make_worker(timeout_s=30).run(request())


async def test_a_packed_answer_is_read(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(gzip.compress(json.dumps(completion()).encode()), headers={"Content-Encoding": "gzip"})
    assert (await make_worker().run(request())).content == "Paris"


async def test_an_answer_in_many_pieces_is_joined(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    body = json.dumps(completion("Grüße " * 50), ensure_ascii=False).encode()

    async def script(exchange: Exchange) -> None:
        exchange.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        for start in range(0, len(body), 11):
            exchange.writer.write(body[start : start + 11])
            await exchange.writer.drain()
            await asyncio.sleep(0)

    server.script = script
    assert (await make_worker().run(request())).content == "Grüße " * 50


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"<html>a portal</html>", "text/html; charset=utf-8", "sent text/html instead of JSON"),
        (b'{"a": ', "application/json", "damaged answer"),
        (b"\xff\xfe\xff", "application/json", "damaged answer"),
        (b"[" * 100_000, "application/json", "damaged answer"),
        (b'"text"', "application/json", "sent a str"),
        (b"", "", "damaged answer"),
    ],
    ids=["html", "half", "bytes", "deep", "text", "empty"],
)
async def test_what_is_not_json_is_named(
    server: MisbehavingServer, make_worker: MakeWorker, body: bytes, content_type: str, message: str
) -> None:
    server.script = answers(body, content_type=content_type)
    with pytest.raises(MalformedResponseError, match=message):
        await make_worker().run(request())


async def test_json_under_another_content_type_is_read(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers(completion(), content_type="text/plain")
    assert (await make_worker().run(request())).content == "Paris"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "model is busy", "type": "x"}}', "model is busy"),
        (b'{"error": "plain words"}', "plain words"),
        (b'{"message": "no such thing"}', "no such thing"),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        (b"upstream \xff died", "upstream \ufffd died"),
        (b"[" * 99_999, "[" * 1200),
        (b'{"error": {"message": null}}', "null"),
        (b"", ""),
    ],
    ids=["openai", "text", "message", "detail", "no json", "deep", "null", "empty"],
)
def test_error_bodies(body: bytes, said: str) -> None:
    assert body_message(body) == said


async def test_an_endless_error_body_is_cut(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(500, b"x" * 200_000, claimed_length=10**9)
        await exchange.hung_up()

    server.script = script
    with pytest.raises(WorkerUnavailableError, match="xxx") as caught:
        await make_worker().run(request())
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "1e300"}, 1e300),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Fri, 99 Foo 99999 99:99:99 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 GMT"}, 0.0),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@given(
    value=st.one_of(
        st.text(max_size=40),
        st.integers().map(str),
        st.floats().map(str),
        st.builds(
            "{}, {} {} {} {}:{}:{} {}".format,
            st.sampled_from(["Mon", "Xyz"]),
            st.integers(0, 40),
            st.sampled_from(["Jan", "Dec", "Foo"]),
            st.integers(0, 12_000),
            *[st.integers(0, 99)] * 3,
            st.sampled_from(["GMT", "-0000", "+9999", ""]),
        ),
    )
)
def test_no_retry_after_breaks_anything(value: str) -> None:
    seconds = retry_after({"retry-after": value, "retry-after-ms": value[::-1]})
    assert seconds is None or 0 <= seconds < math.inf


async def test_retry_after_ms_of_a_real_answer(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    server.script = answers({"error": {"message": "slow"}}, 429, headers={"Retry-After-Ms": "1500"})
    with pytest.raises(RateLimitedError) as caught:
        await make_worker().run(request())
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize("after", [b"", b'{"id": '], ids=["headers", "half a body"])
@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_the_socket_closes_with_the_call(
    server: MisbehavingServer, make_worker: MakeWorker, how: str, after: bytes
) -> None:
    gone = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(200, after, claimed_length=1000)
        await exchange.hung_up()
        gone.set()

    server.script = script
    task = asyncio.create_task(make_worker().run(request(timeout_s=0.2 if how == "late" else 30)))
    await server.called.wait()
    await asyncio.sleep(0.02)
    if how == "cancelled":
        task.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else WorkerTimeoutError):
        await task
    async with asyncio.timeout(5):
        await gone.wait()


async def test_a_broken_answer_does_not_spoil_the_next_one(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    """Bytes of an answer that was given up must not be read as the next one."""
    worker = make_worker()

    async def stuck(exchange: Exchange) -> None:
        await exchange.send(200, b'{"id"', claimed_length=100)
        await exchange.hung_up()

    server.script = stuck
    with pytest.raises(WorkerTimeoutError):
        await worker.run(request(timeout_s=0.1))
    server.script = answers(completion("Rome"))
    assert (await worker.run(request())).content == "Rome"
    assert server.connections == 2


async def test_errors_leave_the_connection_open_for_the_next_call(
    server: MisbehavingServer, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    server.script = answers({"error": {"message": "no"}}, 500)
    for _ in range(3):
        with pytest.raises(WorkerUnavailableError):
            await worker.run(request())
    server.script = answers(completion())
    await worker.run(request())
    assert server.connections == 1


async def test_a_host_that_accepts_no_connection(make_worker: MakeWorker) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(WorkerTimeoutError):
            await make_worker(f"http://127.0.0.1:{full.getsockname()[1]}/v1").run(request(timeout_s=0.3))
        for filler in fillers:
            filler.close()


async def test_the_limit_for_connecting_is_its_own(make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestai.workers.clients.CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(WorkerTimeoutError, match="did not accept a connection"):
            await make_worker(f"http://127.0.0.1:{full.getsockname()[1]}/v1").run(request(timeout_s=30))
        for filler in fillers:
            filler.close()


async def test_many_calls_at_a_time_get_their_own_answers(server: MisbehavingServer, make_worker: MakeWorker) -> None:
    async def echo(exchange: Exchange) -> None:
        prompt = exchange.json()["messages"][0]["content"]
        await asyncio.sleep(hash(prompt) % 7 / 500)
        await exchange.send_json(completion(f"echo {prompt}"))

    server.script = echo
    worker = make_worker()
    outputs = await asyncio.gather(*(worker.run(request(prompt=str(number))) for number in range(200)))
    assert [output.content for output in outputs] == [f"echo {number}" for number in range(200)]


@pytest.mark.parametrize("where", ["refusal", "not json", "html", "status text", "too long"])
async def test_an_answer_that_echoes_the_key_does_not_show_it(
    server: MisbehavingServer, make_worker: MakeWorker, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = {
        "refusal": answers(completion(None, message={"refusal": f"no: {KEY}"})),
        "not json": answers(completion(f"I saw {KEY}")),
        "html": answers(f"<p>{KEY}</p>".encode(), content_type="text/html"),
        "status text": answers(f"<p>{KEY}</p>".encode(), 502, content_type="text/html"),
        "too long": answers({"error": {"message": f"{KEY} " * 50}}, 400),
    }[where]
    server.script = script
    worker = make_worker()
    with pytest.raises(WorkerError) as caught:
        await worker.run(request(json_schema={"type": "object"} if where == "not json" else None))
    error = caught.value
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for text in (str(error), repr(error), repr(vars(error)), shown, caplog.text):
        assert KEY not in text


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of a loop that nobody can ask any more
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_closed_loops_leave_no_connection_behind(server: MisbehavingServer) -> None:
    server.script = answers(completion())
    pool = ClientPool()
    profile = WorkerProfile(name="w", description="d", model="m", base_url=server.base_url)
    worker = OpenAIWorker(profile, base_url=server.base_url, clients=pool)
    await asyncio.to_thread(lambda: asyncio.run(_one(worker)))
    assert (await worker.run(request())).content == "Paris"
    assert len(pool._loops) == 1, "the thread's loop is gone, and so are its connections"
    await pool.aclose()
    assert (await worker.run(request())).content == "Paris", "the pool can be used again"
    await pool.aclose()
    gc.collect()


async def _one(worker: OpenAIWorker) -> None:
    await worker.run(request())
