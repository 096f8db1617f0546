"""Model endpoints that do sub-tasks: clients of the OpenAI format, their errors, limits, breakers and discovery.

aiohttp and the `openai` package load with the first call, not with this import.
"""

from __future__ import annotations

from orchestai.workers.breaker import BreakerSnapshot, BreakerState, CircuitBreaker, GuardedWorker
from orchestai.workers.clients import ClientPool
from orchestai.workers.embeddings import EmbeddingOutput
from orchestai.workers.layer import LocalEndpoints, WorkerLayer
from orchestai.workers.limited import LimitedWorker
from orchestai.workers.limiter import TenantLimiter
from orchestai.workers.openai_worker import OpenAIWorker
from orchestai.workers.streaming import stream_answer

__all__ = [
    "BreakerSnapshot",
    "BreakerState",
    "CircuitBreaker",
    "ClientPool",
    "EmbeddingOutput",
    "GuardedWorker",
    "LimitedWorker",
    "LocalEndpoints",
    "OpenAIWorker",
    "TenantLimiter",
    "WorkerLayer",
    "stream_answer",
]
