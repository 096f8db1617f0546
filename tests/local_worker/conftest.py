from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestai.local_worker import TransformersWorker

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import make_checkpoint, profile


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
async def worker(checkpoint: Path) -> AsyncIterator[TransformersWorker]:
    import torch

    torch.set_num_threads(1)
    made = TransformersWorker(profile(), checkpoint, device="cpu")
    yield made
    await made.aclose()
