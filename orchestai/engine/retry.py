"""Tries again where another try may help; enters the retry library only after a first failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import tenacity

from orchestai.errors import OrchestAIError, RateLimitedError, is_retryable

T = TypeVar("T")

_LONGEST_PAUSE_S = 120.0


class RetryPolicy(Protocol):
    """The part of the engine's configuration that retries read."""

    @property
    def max_attempts(self) -> int:
        """Calls in all, the first one included."""

    @property
    def backoff_min_s(self) -> float:
        """Pause after the first failure."""

    @property
    def backoff_max_s(self) -> float:
        """Longest pause."""

    @property
    def backoff_jitter_s(self) -> float:
        """Random part of a pause."""


async def call_with_retries(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    on_retry: Callable[[OrchestAIError], None],
) -> T:
    """Await `call` until it succeeds, fails for good, or the attempts are used up.

    The pauses grow exponentially; a worker's Retry-After is honoured where it asks for more, but one that
    asks for more than two minutes is given up. The caller's timeout cuts the whole sequence, pauses included.

    Args:
        call: Makes one attempt.
        policy: How often and how patiently.
        on_retry: Told of each failure that is followed by another attempt.

    Raises:
        OrchestAIError: The last failure.
    """
    try:
        return await call()
    except OrchestAIError as error:
        if not _is_worth_waiting(error) or policy.max_attempts <= 1:
            raise
        first = error
    backoff = tenacity.wait_exponential(multiplier=policy.backoff_min_s, max=policy.backoff_max_s)
    jitter = tenacity.wait_random(0, policy.backoff_jitter_s)

    def pause(state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        asked = failure.retry_after_s if isinstance(failure, RateLimitedError) else None
        return max(backoff(state), asked or 0.0) + jitter(state)

    def tell(state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome is not None else None
        if isinstance(failure, OrchestAIError):
            on_retry(failure)

    attempts = 0

    async def again() -> T:
        # The failure that brought us here counts as attempt 1, so that its pause is waited out too.
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise first
        return await call()

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(policy.max_attempts),
        wait=pause,
        retry=tenacity.retry_if_exception(_is_worth_waiting),
        before_sleep=tell,
        reraise=True,
    )
    return await retrying(again)


def _is_worth_waiting(error: BaseException) -> bool:
    asked = error.retry_after_s if isinstance(error, RateLimitedError) else None
    return is_retryable(error) and (asked or 0.0) <= _LONGEST_PAUSE_S
