"""Connections: one aiohttp session an event loop for the hot path, one client of the `openai` package an endpoint."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import SecretStr

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from openai import AsyncOpenAI

CONNECT_TIMEOUT_S = 10.0
"""Time to open a connection; answers have the worker's own, longer limit."""

_NO_KEY = "not-needed"  # the SDK insists on a key; servers that want none ignore it


class _OfLoop:
    """What belongs to one event loop."""

    def __init__(self) -> None:
        self.session: ClientSession | None = None
        self.sdk: dict[tuple[str, str], AsyncOpenAI] = {}

    async def aclose(self) -> None:
        if self.session is not None:
            await self.session.close()
        for client in self.sdk.values():
            await client.close()


class ClientPool:
    """Shares connections between workers.

    Sockets belong to an event loop. A host that calls `asyncio.run` several times therefore gets
    fresh connections in each loop, and those of a closed loop are dropped.
    """

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = WeakKeyDictionary()
        self._latest: tuple[weakref.ref[asyncio.AbstractEventLoop], ClientSession] | None = None

    async def session(self) -> ClientSession:
        """Return the session of this event loop, made on first use."""
        loop = asyncio.get_running_loop()
        if self._latest is not None and self._latest[0]() is loop:  # a weak dictionary is slow to ask
            return self._latest[1]
        mine = self._loops.get(loop) or await self._enter_loop()
        if mine.session is None:
            mine.session = _make_session()
        self._latest = (weakref.ref(loop), mine.session)
        return mine.session

    async def sdk(self, base_url: str, api_key: SecretStr | None) -> AsyncOpenAI:
        """Return the SDK's client of `base_url` and `api_key`, made on first use in this event loop."""
        mine = self._loops.get(asyncio.get_running_loop()) or await self._enter_loop()
        secret = (api_key.get_secret_value() if api_key else "") or _NO_KEY
        client = mine.sdk.get((base_url, secret))
        if client is None:
            client = mine.sdk[base_url, secret] = _make_sdk(base_url, secret)
        return client

    async def aclose(self) -> None:
        """Close the connections of this event loop and of loops that are gone."""
        self._latest = None
        await self._drop_closed_loops()
        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.aclose()

    async def _enter_loop(self) -> _OfLoop:
        await self._drop_closed_loops()
        return self._loops.setdefault(asyncio.get_running_loop(), _OfLoop())

    async def _drop_closed_loops(self) -> None:
        for loop in [loop for loop in self._loops if loop.is_closed()]:
            await self._loops.pop(loop).aclose()


def _make_session() -> ClientSession:
    import aiohttp

    # Deadlines are asyncio's (they cover the body), limits are the workers': both off here but for connecting.
    # Cookies and proxies' environment are nothing that one endpoint may leave behind for the next.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
    )


def _make_sdk(base_url: str, secret: str) -> AsyncOpenAI:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    # Deadlines and retries are ours and the engine's: both off here.
    return AsyncOpenAI(
        base_url=base_url,
        api_key=secret,
        max_retries=0,
        timeout=None,
        http_client=DefaultAioHttpClient(timeout=None),
    )
