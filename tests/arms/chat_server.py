"""An OpenAI-format chat server on loopback whose answers a test writes, a list a model."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class ChatServer:
    """`answers[model]` are given in order, the last one again and again: text, an HTTP status, or (delay, text).

    A function in place of the list is given the prompt.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Any] | Callable[[str], Any]] = {}
        self.asked: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.cut_off: list[str] = []
        self.base_url = ""

    def prompt(self, model: str, call: int = -1) -> str:
        return str(self.asked[model][call]["messages"][-1]["content"])

    def system(self, model: str, call: int = -1) -> str:
        return str(self.asked[model][call]["messages"][0]["content"])

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        model = body["model"]
        self.asked[model].append(body)
        script = self.answers[model]
        if callable(script):
            answer = script(self.prompt(model))
        else:
            answer = script[min(len(self.asked[model]), len(script)) - 1]
        if isinstance(answer, tuple):
            delay, answer = answer
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                self.cut_off.append(model)
                raise
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "broken on purpose"}}, status=answer)
        return web.json_response(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": model,
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
            }
        )


CALL_USD = (100 * 1.0 + 50 * 2.0) / 1e6
"""Price of one call to a worker of the fixture `chat`."""


@asynccontextmanager
async def chat_server() -> AsyncIterator[ChatServer]:
    state = ChatServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", state.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    state.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield state
    finally:
        await runner.cleanup()
