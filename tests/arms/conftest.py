from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orchestai.arms.sandbox import Sandbox
from orchestai.config import SandboxConfig
from orchestai.contracts import Modality, WorkerProfile
from orchestai.workers import OpenAIWorker

sys.path.insert(0, str(Path(__file__).parent))
from chat_server import ChatServer, chat_server

LIMITS = SandboxConfig(
    wall_s=8, cpu_s=4, memory_mb=256, processes=8, file_mb=4, work_mb=8, work_files=200, output_kb=64
)


@pytest.fixture
def limits() -> SandboxConfig:
    if shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip("bubblewrap is not installed")
    return LIMITS


@pytest.fixture
def sandbox(limits: SandboxConfig) -> Sandbox:
    return Sandbox(limits)


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as running:
        yield running


@pytest.fixture
async def chat(server: ChatServer) -> AsyncIterator[Callable[..., OpenAIWorker]]:
    """Make workers that talk to the local server; `model` tells the server who asks."""
    made: list[OpenAIWorker] = []

    def make(name: str = "writer", **facts: Any) -> OpenAIWorker:
        profile: dict[str, Any] = {
            "name": name,
            "description": "A chat model.",
            "model": name,
            "base_url": server.base_url,
            "modalities": (Modality.CHAT,),
            "input_usd_per_mtok": 1.0,
            "output_usd_per_mtok": 2.0,
            "timeout_s": 10.0,
        }
        worker = OpenAIWorker(WorkerProfile(**(profile | facts)), base_url=server.base_url, api_key="sk-test")
        made.append(worker)
        return worker

    yield make
    for worker in made:
        await worker.aclose()


@pytest.fixture
def verdict() -> Callable[..., str]:
    def make(accepted: bool, score: float, reason: str = "because") -> str:
        return json.dumps({"accepted": accepted, "score": score, "reason": reason})

    return make


@pytest.fixture
def survivors() -> Callable[..., list[str]]:
    """List what descends from a process (this one by default) and belongs to a sandbox, zombies left out."""

    def walk(root: int | None = None) -> list[str]:
        found: list[str] = []
        waiting = [root or os.getpid()]
        while waiting:
            process = waiting.pop()
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                try:
                    waiting.extend(int(child) for child in children.read_text().split())
                except OSError:
                    continue
            found.extend(_sandboxed(process))
        return found

    return walk


def _sandboxed(process: int) -> list[str]:
    try:
        status = Path(f"/proc/{process}/status").read_text()
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return []
    if "State:\tZ" in status or not any(word in command for word in ("bwrap", "/main.", " main.", "sleep")):
        return []
    return [f"{process} {command}"]
