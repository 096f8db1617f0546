from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestai.bus import DurableQueue
from tests.bus.messages import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(tmp_path: Path, clock: Clock) -> AsyncIterator[DurableQueue]:
    """Return a queue whose leases last 30 s of a clock that the test turns."""
    async with DurableQueue(tmp_path / "q.sqlite", clock=clock, wall=clock, max_attempts=3, poll_s=0.02) as opened:
        yield opened
