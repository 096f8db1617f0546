"""The one boundary where errors of the SDK and of the transport become ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from json import JSONDecodeError
from types import ModuleType, TracebackType

from pydantic import SecretStr, ValidationError

from orchestai.errors import (
    MalformedResponseError,
    OrchestAIError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)
from orchestai.workers.status_errors import MAX_DETAIL_CHARS, Callee, scrub, status_error

_USER_INFO = re.compile(r"//[^/\s'\"]*@")
"""Name and password in a URL: a proxy's, or an endpoint's."""


class ProviderErrors(AbstractContextManager[None]):
    """Turns every error of the SDK or the transport into the most specific error of ours.

    The original is not chained: its request holds the key in a header, and its message may echo it.

    Args:
        callee: Whose call is made inside.
        secret: The key in use, which is cut out of every message.
        limit_s: Time allowed, for the message of a timeout.

    Raises:
        WorkerError: For every failure of the call; our own errors pass unchanged.
    """

    def __init__(self, callee: Callee, *, secret: SecretStr | None = None, limit_s: float | None = None) -> None:
        self._callee = callee
        self._secret = secret
        self._limit_s = limit_s

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OrchestAIError):
            self._scrub(error)
            return
        if not isinstance(error, Exception):
            return
        translated = self._translate(error)
        # A reporter that shows the locals of each frame would find the original here.
        del kind, error, trace
        try:
            raise translated
        finally:
            translated.__context__ = None

    def _scrub(self, error: OrchestAIError) -> None:
        """Cut the key out of an error of ours too: it may quote an answer that echoes the key.

        So may the locals of the frames that it came through, which some reporters show.
        """
        if self._secret is not None:
            error.__traceback__ = None
        fields = vars(error)
        fields.update({key: scrub(value, self._secret) for key, value in fields.items() if isinstance(value, str)})
        error.args = tuple(scrub(value, self._secret) if isinstance(value, str) else value for value in error.args)

    def _translate(self, error: Exception) -> WorkerError:
        openai = _loaded("openai")
        if openai is not None and isinstance(error, openai.APIStatusError):
            body = getattr(error, "body", None)
            said = body.get("message") if isinstance(body, dict) else None
            message = said if isinstance(said, str) else str(error.message)
            return status_error(self._callee, error.status_code, error.response.headers, message, self._secret)
        return self._transport(error)

    def _transport(self, error: Exception) -> WorkerError:
        import aiohttp

        # The SDK's aiohttp transport reports refused and reset connections as connect *timeouts*,
        # so the cause at the bottom of the chain decides, not the type on top.
        chain = list(_causes(error))
        label, name = self._callee.label, self._callee.name
        detail = f"{type(chain[-1]).__name__}: {chain[-1]}".rstrip(": ")
        detail = scrub(_USER_INFO.sub("//", detail), self._secret)[:MAX_DETAIL_CHARS]

        def among(*types: type[BaseException]) -> bool:
            return any(isinstance(cause, types) for cause in chain)

        if among(aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            return WorkerRequestError(
                f"{label} cannot be called ({detail}).", worker=name, remedy="Check its `base_url`."
            )
        if among(aiohttp.ClientHttpProxyError):
            return WorkerUnavailableError(
                f"{label} cannot be reached: the proxy refuses ({detail}).",
                worker=name,
                remedy="Check the proxy in `https_proxy`, or name the host in `no_proxy`.",
            )
        if among(aiohttp.ClientPayloadError, aiohttp.ClientResponseError, JSONDecodeError, RecursionError):
            return MalformedResponseError(f"{label} sent a damaged answer ({detail}).", worker=name)
        if among(UnicodeDecodeError, ValidationError) or _from_sdk(chain, "APIResponseValidationError"):
            return MalformedResponseError(f"{label} sent an answer in another format ({detail}).", worker=name)
        if among(aiohttp.ConnectionTimeoutError):
            return WorkerTimeoutError(
                f"{label} did not accept a connection in time.",
                worker=name,
                remedy="Check that its endpoint is running and its `base_url` is right.",
            )
        # Before the timeouts: aiohttp's own timeout is one of its connection errors as well.
        if among(aiohttp.ServerTimeoutError) or not among(aiohttp.ClientConnectionError, ConnectionError):
            if among(TimeoutError) or _from_sdk(chain, "APITimeoutError"):
                allowed = "in time" if self._limit_s is None else f"within {self._limit_s:g} s"
                return WorkerTimeoutError(
                    f"{label} gave no complete answer {allowed}.",
                    worker=name,
                    remedy="Raise its `timeout_s`, or use a faster worker.",
                )
            if not _from_sdk(chain, "APIConnectionError") and not among(OSError):
                return WorkerError(f"{label} failed ({detail}).", worker=name)
        return WorkerUnavailableError(
            f"{label} cannot be reached ({detail}).",
            worker=name,
            remedy="Check that its endpoint is running and its `base_url` is right.",
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _from_sdk(chain: list[BaseException], kind: str) -> bool:
    openai = _loaded("openai")
    return openai is not None and any(isinstance(cause, getattr(openai, kind)) for cause in chain)


def _loaded(module: str) -> ModuleType | None:
    """A package that nobody has imported yet cannot have raised: its half a second is not spent on an error."""
    return sys.modules.get(module)
