"""What an HTTP status other than 2xx means, in our own errors."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from pydantic import SecretStr

from orchestai.contracts import WorkerProfile
from orchestai.errors import (
    RateLimitedError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)

MAX_DETAIL_CHARS = 300


class Callee(NamedTuple):
    """Whom a call went to, as its errors name it.

    Attributes:
        name: Value of the errors' `worker`.
        label: How a sentence about it begins.
        request_remedy: What to check where it does not know what was asked for.
        key_remedy: Where its key goes.
    """

    name: str
    label: str
    request_remedy: str
    key_remedy: str

    @classmethod
    def worker(cls, profile: WorkerProfile) -> Callee:
        """Return the callee that a worker's profile describes."""
        return cls(
            name=profile.name,
            label=f"Worker {profile.name!r}",
            request_remedy=f"Check the worker's `model` ({profile.model!r}) and `base_url`.",
            key_remedy=key_remedy(profile),
        )


def key_remedy(worker: WorkerProfile) -> str:
    """Say which variable to set for `worker`."""
    if worker.api_key_env:
        return f"Put a valid key into the environment variable {worker.api_key_env} (or into .env)."
    return "Name the environment variable that holds its key in the worker's `api_key_env`, and set it."


def scrub(text: str, secret: SecretStr | None) -> str:
    """Return `text` without the key."""
    value = secret.get_secret_value() if secret else ""
    return text.replace(value, "[key]") if value else text


def status_error(
    callee: Callee, status: int, headers: Mapping[str, str], message: str, secret: SecretStr | None
) -> WorkerError:
    """Return the most specific error for an answer with `status`.

    Args:
        callee: Who answered.
        status: HTTP status, not 2xx.
        headers: Headers of the answer, looked up in lower case.
        message: What the answer says; see `body_message`.
        secret: The key in use, which is cut out of the message.
    """
    said = f"{callee.label} answered {status}: {scrub(message, secret)[:MAX_DETAIL_CHARS]}"
    name = callee.name
    if status == 429:
        return RateLimitedError(said, worker=name, retry_after_s=retry_after(headers))
    if status in (401, 402, 403):
        return WorkerAuthError(said, worker=name, remedy=callee.key_remedy)
    if status in (408, 504):
        return WorkerTimeoutError(said, worker=name)
    if status >= 500 or status in (409, 425):
        return WorkerUnavailableError(said, worker=name)
    remedy = None
    if status == 404:
        remedy = callee.request_remedy
    elif status < 400:
        remedy = "Check the worker's `base_url`: it redirects."
    return WorkerRequestError(said, worker=name, remedy=remedy)


def body_message(body: bytes) -> str:
    """Return what the body of an error says: the message of a known format, or its beginning as text.

    Known are OpenAI's `{"error": {"message"}}`, `{"error": "..."}`, `{"message"}` and FastAPI's `{"detail"}`.
    """
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return body[: 4 * MAX_DETAIL_CHARS].decode("utf-8", "replace").strip()
    said = payload
    for key in ("error", "message", "detail"):
        if isinstance(said, dict) and key in said:
            said = said[key]
    return said if isinstance(said, str) else json.dumps(said)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait: `retry-after-ms` where given, else `retry-after`."""
    milliseconds = parse_retry_after(headers.get("retry-after-ms"), dates=False)
    if milliseconds is not None:
        return milliseconds / 1000
    return parse_retry_after(headers.get("retry-after"))


def parse_retry_after(value: str | None, *, dates: bool = True) -> float | None:
    """Return the seconds that a header asks for: a number, or an HTTP date; None where it makes no sense."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        if not dates:
            return None
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
