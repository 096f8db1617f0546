"""The one boundary where errors of the SDK and of the transport become ours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from types import TracebackType

from pydantic import SecretStr, ValidationError

from orchestai.contracts import WorkerProfile
from orchestai.errors import (
    MalformedResponseError,
    OrchestAIError,
    RateLimitedError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)

_MAX_DETAIL_CHARS = 300


def map_provider_errors(
    *, worker: WorkerProfile, secret: SecretStr | None = None, limit_s: float | None = None
) -> AbstractContextManager[None]:
    """Turn every error of the SDK or the transport into the most specific error of ours.

    The original is not chained: its request holds the key in a header, and its message may echo it.

    Args:
        worker: Whose call is made inside.
        secret: The key in use, which is cut out of every message.
        limit_s: Time allowed, for the message of a timeout.

    Raises:
        WorkerError: For every failure of the call; our own errors pass unchanged.
    """
    return _Boundary(_Translator(worker, secret, limit_s))


class _Boundary(AbstractContextManager[None]):
    def __init__(self, translator: _Translator) -> None:
        self._translator = translator

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, OrchestAIError):
            return
        translated = self._translator.translate(error)
        # A reporter that shows the locals of each frame would find the original here.
        del kind, error, trace
        try:
            raise translated
        finally:
            translated.__context__ = None


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number, or an HTTP date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    if seconds != seconds or seconds == float("inf"):
        return None
    return max(0.0, seconds)


class _Translator:
    def __init__(self, worker: WorkerProfile, secret: SecretStr | None, limit_s: float | None) -> None:
        self._worker = worker
        self._secret = secret
        self._limit_s = limit_s

    def translate(self, error: Exception) -> WorkerError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._status(error)
        return self._transport(error)

    def _status(self, error: object) -> WorkerError:
        import openai

        assert isinstance(error, openai.APIStatusError)
        status, name = error.status_code, self._worker.name
        said = f"Worker {name!r} answered {status}: {self._clean(_body_message(error))}"
        if status == 429:
            return RateLimitedError(
                said,
                worker=name,
                retry_after_s=parse_retry_after(error.response.headers.get("retry-after")),
            )
        if status in (401, 402, 403):
            return WorkerAuthError(said, worker=name, remedy=key_remedy(self._worker))
        if status in (408, 504):
            return WorkerTimeoutError(said, worker=name)
        if status >= 500 or status in (409, 425):
            return WorkerUnavailableError(said, worker=name)
        remedy = None
        if status == 404:
            remedy = f"Check the worker's `model` ({self._worker.model!r}) and `base_url`."
        elif status < 400:
            remedy = "Check the worker's `base_url`: it redirects."
        return WorkerRequestError(said, worker=name, remedy=remedy)

    def _transport(self, error: Exception) -> WorkerError:
        import aiohttp

        # The SDK's aiohttp transport reports refused and reset connections as connect *timeouts*,
        # so the cause at the bottom of the chain decides, not the type on top.
        chain = list(_causes(error))
        name = self._worker.name
        detail = self._clean(f"{type(chain[-1]).__name__}: {chain[-1]}".rstrip(": "))

        def among(*types: type[BaseException]) -> bool:
            return any(isinstance(cause, types) for cause in chain)

        if among(aiohttp.ClientPayloadError, aiohttp.ClientResponseError, json.JSONDecodeError):
            return MalformedResponseError(f"Worker {name!r} sent a damaged answer ({detail}).", worker=name)
        if among(UnicodeDecodeError, ValidationError) or _is_sdk_validation(chain):
            return MalformedResponseError(f"Worker {name!r} sent an answer in another format ({detail}).", worker=name)
        # Before the timeouts: aiohttp's own timeout is one of its connection errors as well.
        if among(aiohttp.ServerTimeoutError) or not among(aiohttp.ClientConnectionError, ConnectionError):
            if among(TimeoutError) or _is_sdk_timeout(chain):
                allowed = "in time" if self._limit_s is None else f"within {self._limit_s:g} s"
                return WorkerTimeoutError(
                    f"Worker {name!r} gave no complete answer {allowed}.",
                    worker=name,
                    remedy="Raise its `timeout_s`, or use a faster worker.",
                )
            if not _is_sdk_connection(chain) and not among(OSError):
                return WorkerError(f"Worker {name!r} failed ({detail}).", worker=name)
        return WorkerUnavailableError(
            f"Worker {name!r} cannot be reached ({detail}).",
            worker=name,
            remedy="Check that its endpoint is running and its `base_url` is right.",
        )

    def _clean(self, text: str) -> str:
        return scrub(text, self._secret)[:_MAX_DETAIL_CHARS]


def key_remedy(worker: WorkerProfile) -> str:
    """Say which variable to set for `worker`."""
    if worker.api_key_env:
        return f"Put a valid key into the environment variable {worker.api_key_env} (or into .env)."
    return "Name the environment variable that holds its key in the worker's `api_key_env`, and set it."


def scrub(text: str, secret: SecretStr | None) -> str:
    """Return `text` without the key."""
    value = secret.get_secret_value() if secret else ""
    return text.replace(value, "[key]") if value else text


def _body_message(error: object) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(getattr(error, "message", error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _is_sdk_validation(chain: list[BaseException]) -> bool:
    import openai

    return any(isinstance(cause, openai.APIResponseValidationError) for cause in chain)


def _is_sdk_timeout(chain: list[BaseException]) -> bool:
    import httpx2
    import openai

    return any(isinstance(cause, openai.APITimeoutError | httpx2.TimeoutException) for cause in chain)


def _is_sdk_connection(chain: list[BaseException]) -> bool:
    import httpx2
    import openai

    return any(isinstance(cause, openai.APIConnectionError | httpx2.TransportError) for cause in chain)
