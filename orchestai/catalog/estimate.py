"""What one call may cost and take, before it is made."""

from __future__ import annotations

import math
from typing import NamedTuple

from orchestai.contracts import TaskType, WorkerProfile
from orchestai.errors import InputError

CHARS_PER_TOKEN = 3.6
"""Characters of mixed prose and code that make one token, on average."""


class Estimate(NamedTuple):
    """Expected price and time of one call."""

    cost_usd: float
    latency_ms: float


def tokens_of(chars: int) -> int:
    """Return the tokens that a text of `chars` characters takes, rounded up."""
    return math.ceil(chars / CHARS_PER_TOKEN)


def estimate(profile: WorkerProfile, task_type: TaskType, prompt_chars: int) -> Estimate:
    """Price one call of `profile`, with an answer as long as `task_type` allows.

    The answer's length is not known before the call, so the price is an upper bound for the answer; that
    way a budget which holds for the estimate holds for the bill.

    Args:
        profile: The worker.
        task_type: The kind of sub-task; its `max_output_tokens` bounds the answer.
        prompt_chars: Length of what the worker will read.

    Raises:
        InputError: `prompt_chars` is negative.
    """
    if prompt_chars < 0:
        raise InputError(f"`prompt_chars` must be >= 0, got {prompt_chars}.")
    cost = profile.cost_usd(tokens_of(prompt_chars), task_type.max_output_tokens)
    return Estimate(cost_usd=cost, latency_ms=profile.typical_latency_ms)
