"""A real server that lists models in the formats of `/v1/models` and of the Hugging Face Hub, page by page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class ListingServer:
    """Serves `openai` (entries a page) and `hub` (all entries), and remembers what it was asked."""

    def __init__(self) -> None:
        self.openai: list[list[Any]] = [[]]
        self.hub: list[Any] = []
        self.seen: list[web.Request] = []
        self.next_link: str | None = None
        self.raw: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.url = ""

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def models(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if self.raw is not None:
            return await self.raw(request)
        page = int(request.query.get("after", "page-0").removeprefix("page-"))
        body: dict[str, Any] = {"object": "list", "data": self.openai[page]}
        if len(self.openai) > 1:
            body |= {"has_more": page + 1 < len(self.openai), "last_id": f"page-{page + 1}"}
        return web.Response(text=json.dumps(body), content_type="application/json")

    async def hub_models(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        size, start = int(request.query["limit"]), int(request.query.get("cursor", "0"))
        headers = {}
        if start + size < len(self.hub):
            target = self.next_link or str(request.url.update_query(cursor=str(start + size)))
            headers["Link"] = f'<{target}>; rel="next"'
        body = json.dumps(self.hub[start : start + size])
        return web.Response(text=body, content_type="application/json", headers=headers)


@asynccontextmanager
async def listing_server() -> AsyncIterator[ListingServer]:
    state = ListingServer()
    app = web.Application()
    app.add_routes([web.get("/v1/models", state.models), web.get("/api/models", state.hub_models)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield state
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
