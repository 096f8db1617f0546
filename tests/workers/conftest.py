from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestai.contracts import Modality, WorkerProfile
from orchestai.workers import OpenAIWorker

sys.path.insert(0, str(Path(__file__).parent))
from misbehaving import KEY, MisbehavingServer, misbehaving_server


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with misbehaving_server() as running:
        yield running


@pytest.fixture
async def make_worker(server: MisbehavingServer) -> AsyncIterator[Callable[..., OpenAIWorker]]:
    made: list[OpenAIWorker] = []

    def make(base_url: str | None = None, api_key: str | None = KEY, **profile: Any) -> OpenAIWorker:
        facts: dict[str, Any] = {
            "name": "remote",
            "description": "A remote model.",
            "model": "m-1",
            "base_url": server.base_url,
            "api_key_env": "REMOTE_API_KEY",
            "modalities": tuple(Modality),
            "input_usd_per_mtok": 2.0,
            "output_usd_per_mtok": 10.0,
            "timeout_s": 5.0,
        }
        worker = OpenAIWorker(WorkerProfile(**(facts | profile)), base_url=base_url or server.base_url, api_key=api_key)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        await worker.aclose()
