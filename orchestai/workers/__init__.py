"""Model endpoints that do sub-tasks: the OpenAI-format client, the layer that manages it, the error boundary.

The `openai` package and aiohttp load with the first call, not with this import.
"""

from __future__ import annotations

from orchestai.workers.clients import ClientPool
from orchestai.workers.layer import LocalEndpoints, WorkerLayer
from orchestai.workers.limiter import LimitedWorker
from orchestai.workers.openai_worker import OpenAIWorker
from orchestai.workers.provider_errors import map_provider_errors

__all__ = [
    "ClientPool",
    "LimitedWorker",
    "LocalEndpoints",
    "OpenAIWorker",
    "WorkerLayer",
    "map_provider_errors",
]
