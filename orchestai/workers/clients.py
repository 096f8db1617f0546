"""Clients of the `openai` package, one for each endpoint and key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import SecretStr

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NO_KEY = "not-needed"
"""What is sent where no key is configured: the SDK insists on one, local servers ignore it."""


class ClientPool:
    """Shares one client a base URL and key, so that workers of one endpoint share its connections.

    Sockets belong to an event loop. A host that calls `asyncio.run` several times therefore gets
    fresh clients in each loop, and those of a closed loop are dropped.
    """

    def __init__(self) -> None:
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], AsyncOpenAI]] = (
            WeakKeyDictionary()
        )

    async def get(self, base_url: str, api_key: SecretStr | None) -> AsyncOpenAI:
        """Return the client of `base_url` and `api_key`, made on first use in this event loop."""
        loop = asyncio.get_running_loop()
        clients = self._clients.get(loop)
        if clients is None:
            await self._drop_closed_loops()
            clients = self._clients.setdefault(loop, {})
        secret = (api_key.get_secret_value() if api_key else "") or NO_KEY
        client = clients.get((base_url, secret))
        if client is None:
            client = _make_client(base_url, secret)
            clients[base_url, secret] = client
        return client

    async def aclose(self) -> None:
        """Close the clients of this event loop and of loops that are gone."""
        await self._drop_closed_loops()
        for client in self._clients.pop(asyncio.get_running_loop(), {}).values():
            await client.close()

    async def _drop_closed_loops(self) -> None:
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            for client in self._clients.pop(loop).values():
                await client.close()


def _make_client(base_url: str, secret: str) -> AsyncOpenAI:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    # Deadlines are asyncio's (they cover the body) and retries are the engine's: both off here.
    return AsyncOpenAI(
        base_url=base_url,
        api_key=secret,
        max_retries=0,
        timeout=None,
        http_client=DefaultAioHttpClient(timeout=None),
    )
