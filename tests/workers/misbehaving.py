"""A raw HTTP server on loopback whose next answer a test dictates, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from orchestai.contracts import WorkerRequest

KEY = "sk-very-secret-key-0123456789"

Script = Callable[["Exchange"], Awaitable[None]]


class Exchange(NamedTuple):
    head: str
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def json(self) -> Any:
        return json.loads(self.body)

    async def send(
        self,
        status: int = 200,
        body: bytes = b"",
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        claimed_length: int | None = None,
    ) -> None:
        lines = [
            f"HTTP/1.1 {status} Test",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body) if claimed_length is None else claimed_length}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def send_json(self, payload: object, status: int = 200, **more: Any) -> None:
        await self.send(status, json.dumps(payload).encode(), **more)

    async def hung_up(self) -> None:
        """Wait until the client has closed its side."""
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read(1) == b""

    def reset(self) -> None:
        """Close so that the peer gets RST, not FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class MisbehavingServer:
    def __init__(self) -> None:
        self.script: Script | None = None
        self.requests: list[Exchange] = []
        self.called = asyncio.Event()
        self.connections = 0
        self.base_url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                body = await _read_body(head, reader)
                exchange = Exchange(head, body, reader, writer)
                self.requests.append(exchange)
                self.called.set()
                assert self.script is not None
                await self.script(exchange)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _read_body(head: str, reader: asyncio.StreamReader) -> bytes:
    lowered = head.lower()
    if "content-length:" in lowered:
        length = int(lowered.split("content-length:")[1].split("\r\n")[0])
        return await reader.readexactly(length)
    if "chunked" in lowered:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    return b""


@asynccontextmanager
async def misbehaving_server() -> AsyncIterator[MisbehavingServer]:
    state = MisbehavingServer()
    server = await asyncio.start_server(state.handle, "127.0.0.1", 0)
    state.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield state
    finally:
        server.close()


def completion(content: object = "Paris", **more: Any) -> dict[str, Any]:
    """A chat completion as a good server sends it: 12 tokens in, 3 out."""
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    choice = {"index": 0, "finish_reason": "stop", "message": message} | more.pop("choice", {})
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [choice],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    } | more


def request(**fields: Any) -> WorkerRequest:
    return WorkerRequest(**({"task_type": "question_answering", "prompt": "Capital of France?"} | fields))
