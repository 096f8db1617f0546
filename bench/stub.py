"""A server that speaks the OpenAI format, answers after a fixed time and costs as little CPU as Python allows.

It is there to be measured against, so it parses no more of a request than its length, whether it wants a stream
and which endpoint it asks for. `python -m bench.stub --port 0` prints its base URL and serves until it is stopped;
`running_stub()` does the same in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INPUT_TOKENS = 24
PIECES = ("The ", "capital ", "of ", "France ", "is ", "Paris", ".", "")
ANSWER = "".join(PIECES)
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class RunningStub:
    """Where a stub listens, and the process that it is."""

    base_url: str
    pid: int


@contextlib.contextmanager
def running_stub(delay_ms: float = 50.0) -> Iterator[RunningStub]:
    """Serve in another process until the block ends."""
    command = [sys.executable, "-m", "bench.stub", "--port", "0", "--delay-ms", str(delay_ms)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            if not base_url:
                raise RuntimeError(f"The stub did not start (status {process.wait()}).")
            yield RunningStub(base_url, process.pid)
        finally:
            process.terminate()


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.stub", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--delay-ms", type=float, default=50.0, help="time to an answer")
    options = parser.parse_args(argv)
    asyncio.run(_serve(options.host, options.port, options.delay_ms / 1000))
    return 0


async def _serve(host: str, port: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: _Stub(loop, delay_s), host, port, backlog=1024)
    bound = server.sockets[0].getsockname()
    print(f"http://{bound[0]}:{bound[1]}/v1", flush=True)
    await stopped.wait()
    server.close()


class _Stub(asyncio.Protocol):
    """One connection: requests one after another, as keep-alive clients without pipelining send them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received = data = self._received + data if self._received else data
        end = data.find(_HEAD_END)
        if end < 0:
            return
        head = data[:end].lower()
        if len(data) < end + len(_HEAD_END) + _content_length(head):
            return
        self._received = b""
        if head.startswith(b"post /v1/embeddings"):
            self._loop.call_later(self._delay_s, self._send, _EMBEDDING)
        elif head.startswith(b"get "):
            self._send(_MODELS)
        elif data.find(b'"stream":true', end) >= 0 or data.find(b'"stream": true', end) >= 0:
            for index, piece in enumerate(_STREAM):
                self._loop.call_later(self._delay_s * (index + 1) / len(_STREAM), self._send, piece)
        else:
            self._loop.call_later(self._delay_s, self._send, _COMPLETION)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    start += len(b"\r\ncontent-length:")
    stop = head.find(b"\r\n", start)
    return int(head[start:] if stop < 0 else head[start:stop])


_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": len(PIECES),
    "total_tokens": INPUT_TOKENS + len(PIECES),
}
_COMMON = {"id": "chatcmpl-stub", "created": 1, "model": "stub", "system_fingerprint": "stub"}


def _answer(payload: dict[str, object]) -> bytes:
    body = json.dumps(payload).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(payload: dict[str, object] | str) -> bytes:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    event = f"data: {text}\n\n".encode()
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"


def _completion() -> bytes:
    message = {"role": "assistant", "content": ANSWER, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _answer({**_COMMON, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def _stream() -> list[bytes]:
    """Return what is sent at each of the equal steps of an answer; the usage comes with the last."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    common: dict[str, object] = {**_COMMON, "object": "chat.completion.chunk"}
    steps = [
        _chunk({**common, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        for piece in PIECES
    ]
    steps[0] = head + steps[0]
    steps[-1] += _chunk({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    steps[-1] += _chunk({**common, "choices": [], "usage": _USAGE}) + _chunk("[DONE]") + b"0\r\n\r\n"
    return steps


_COMPLETION = _completion()
_STREAM = _stream()
_MODELS = _answer({"object": "list", "data": [{"id": "stub", "object": "model", "created": 1, "owned_by": "bench"}]})
_EMBEDDING = _answer(
    {
        "object": "list",
        "model": "stub",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}],
        "usage": {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS},
    }
)

if __name__ == "__main__":
    sys.exit(main())
