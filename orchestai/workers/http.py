"""JSON over HTTP, as cheap as aiohttp allows: fixed headers, one shared session, bytes in and bytes out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from pydantic import SecretStr
from pydantic_core import PydanticSerializationError, to_json

from orchestai.errors import MalformedResponseError
from orchestai.workers.clients import ClientPool
from orchestai.workers.status_errors import Callee, body_message, status_error

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_JSON_BYTES = 16 * 2**20
"""The most that an answer may have; a chat completion of 100,000 tokens has half a megabyte."""

Query = Sequence[tuple[str, str]]

_MAX_ERROR_BYTES = 64 * 2**10


class Reply:
    """An answer with a 2xx status. Its repr shows nothing of it: a server may echo the key."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Reply({len(self.body)} bytes)"


class JsonEndpoint:
    """One base URL with its key.

    Args:
        callee: Who answers there, for errors.
        base_url: What the paths are appended to; its query is kept.
        api_key: Sent as a bearer token, and shown nowhere.
        clients: Where connections come from.
        proxy: Through which proxy; it may hold a password.
    """

    def __init__(
        self,
        callee: Callee,
        base_url: str,
        api_key: SecretStr | None,
        clients: ClientPool,
        *,
        proxy: SecretStr | None = None,
    ) -> None:
        self._callee = callee
        self._base_url = base_url
        self._api_key = api_key
        self._clients = clients
        self._proxy = proxy
        self._urls: dict[str, str] = {}
        self._headers = _FixedHeaders(api_key)

    async def get(self, path: str, *, query: Query = (), max_bytes: int = MAX_JSON_BYTES) -> Reply:
        """Get `path`; see `post`."""
        return await self._call("GET", self._url(path, query), None, None, max_bytes)

    async def post(
        self, path: str, body: bytes, *, headers: Mapping[str, str] | None = None, max_bytes: int = MAX_JSON_BYTES
    ) -> Reply:
        """Send `body` to `path` and read the whole answer.

        Raises:
            WorkerError: The status is not 2xx, or the answer exceeds `max_bytes`. Errors of the transport are
                raised as they are: the caller's `ProviderErrors` translates them.
        """
        return await self._call("POST", self._url(path), body, headers, max_bytes)

    async def _call(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None, max_bytes: int
    ) -> Reply:
        session = await self._clients.session()
        response = await self._send(session, method, url, body, headers)
        try:
            if not 200 <= response.status < 300:
                raise await self._refusal(response)
            return Reply(response.headers, await self._read(response, max_bytes))
        except BaseException:
            response.close()  # an answer that nobody read to its end must not go back to the pool
            raise

    @asynccontextmanager
    async def stream(
        self, path: str, body: bytes, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[ClientResponse]:
        """Send `body` to `path` and give the answer's head; leaving the block closes the socket.

        Raises:
            WorkerError: The status is not 2xx.
        """
        session = await self._clients.session()
        response = await self._send(session, "POST", self._url(path), body, headers)
        try:
            if not 200 <= response.status < 300:
                raise await self._refusal(response)
            yield response
        finally:
            response.close()  # nothing happens where the answer was read to its end

    async def _send(
        self, session: ClientSession, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> ClientResponse:
        sent = self._headers.values if headers is None else {**self._headers.values, **headers}
        proxy = self._proxy.get_secret_value() if self._proxy is not None else None
        # A redirect would take the key elsewhere.
        return await session.request(method, url, data=body, headers=sent, allow_redirects=False, proxy=proxy)

    async def _read(self, response: ClientResponse, max_bytes: int) -> bytes:
        content = response.content
        body = await content.readany()
        if not content.at_eof():
            parts = [body]
            size = len(body)
            while size <= max_bytes and (part := await content.readany()):
                parts.append(part)
                size += len(part)
            body = b"".join(parts)
        if len(body) > max_bytes:
            raise MalformedResponseError(
                f"{self._callee.label} sent more than the {max_bytes:,} bytes that an answer may have.",
                worker=self._callee.name,
                remedy="Check its `base_url`.",
            )
        return body

    async def _refusal(self, response: ClientResponse) -> Exception:
        parts = []
        left = _MAX_ERROR_BYTES
        while left > 0 and (part := await response.content.read(left)):
            parts.append(part)
            left -= len(part)
        message = body_message(b"".join(parts)) or response.reason or "no reason given"
        return status_error(self._callee, response.status, response.headers, message, self._api_key)

    def _url(self, path: str, query: Query = ()) -> str:
        url = self._urls.get(path)
        if url is None:
            parts = urlsplit(self._base_url)
            url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}", fragment=""))
            self._urls[path] = url
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        return url


class _FixedHeaders:
    """Headers of every request to one endpoint; the default repr keeps the key out of what a debugger shows."""

    __slots__ = ("values",)

    def __init__(self, api_key: SecretStr | None) -> None:
        self.values = {
            "Accept": "application/json, text/event-stream;q=0.9",
            "Accept-Encoding": "identity",  # answers are small: unpacking costs more than it saves
            "Content-Type": "application/json",
            "User-Agent": "orchestai",
        }
        if api_key is not None:
            self.values["Authorization"] = f"Bearer {api_key.get_secret_value()}"


def encode_json(value: object) -> bytes:
    """Return `value` as JSON; half a character, which UTF-8 cannot hold, is sent as an escape."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value).encode()


def decode_object(reply: Reply, callee: Callee) -> dict[str, Any]:
    """Return the JSON object that `reply` holds.

    Raises:
        MalformedResponseError: It holds something else.
    """
    value = decode_json(reply, callee)
    if not isinstance(value, dict):
        raise MalformedResponseError(
            f"{callee.label} sent a {type(value).__name__} where an object was due; "
            "the answer is not in the OpenAI format.",
            worker=callee.name,
            remedy="Check its `base_url`.",
        )
    return value


def decode_json(reply: Reply, callee: Callee) -> Any:
    """Return the JSON value that `reply` holds.

    Raises:
        MalformedResponseError: It holds none.
    """
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        kind = reply.headers.get("content-type", "").partition(";")[0].strip()[:100]
        if kind and "json" not in kind:
            what, remedy = f"sent {kind} instead of JSON.", "Check its `base_url`."
        else:
            what, remedy = f"sent a damaged answer ({type(error).__name__}: {error}).", None
        raise MalformedResponseError(f"{callee.label} {what}", worker=callee.name, remedy=remedy) from None
