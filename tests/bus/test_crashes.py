"""Real processes that end with kill -9: what was accepted arrives, what was acknowledged does not come again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestai.bus import DurableQueue
from tests.bus.messages import message

ROOT = Path(__file__).parents[2]


class Actor:
    """A process and what it said."""

    def __init__(self, role: str, path: Path, name: str) -> None:
        self.said = path.parent / f"{name}.txt"
        with self.said.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bus.actor", role, str(path), name], stdout=out, cwd=ROOT
            )

    def lines(self) -> list[str]:
        """Return whole lines; the last one may be torn."""
        return self.said.read_text().split("\n")[:-1]

    def count(self, word: str) -> int:
        return sum(line.startswith(word) for line in self.lines())

    def until(self, word: str, *, count: int = 1) -> None:
        deadline = time.monotonic() + 30
        while self.count(word) < count:
            assert time.monotonic() < deadline, f"no {word!r} in {self.lines()}"
            assert self._process.poll() is None, "it ended by itself"
            time.sleep(0.005)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def actor(role: str, path: Path, name: str) -> Iterator[Actor]:
    running = Actor(role, path, name)
    try:
        yield running
    finally:
        running.kill()


def rows(path: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT message_id, state FROM messages").fetchall())


def drained(path: Path) -> bool:
    return all(state == "done" for state in rows(path).values())


@pytest.mark.integration
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_what_a_killed_producer_had_accepted_is_there(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "q.sqlite"
    with actor("produce", path, "p") as producer:
        producer.until("accepted", count=5)
        time.sleep(random.Random(seed).uniform(0, 0.2))
        producer.kill()
        accepted = [line.split()[1] for line in producer.lines() if line.startswith("accepted")]
    stored = rows(path)
    assert len(accepted) >= 5
    assert set(accepted) <= set(stored)
    assert len(stored) <= len(accepted) + 1, "at most the one that was under way"
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.integration
async def test_a_message_of_a_killed_consumer_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite"
    async with DurableQueue(path, poll_s=0.05) as queue:
        await queue.enqueue(message(message_id="m"))
        with actor("hold", path, "h") as holder:
            await asyncio.to_thread(holder.until, "got")
            assert await queue.lease("coder", wait_s=0) is None
            holder.kill()
        started = time.monotonic()
        lease = await queue.lease("coder", wait_s=10)
        assert lease is not None
        assert (lease.message.message_id, lease.attempt) == ("m", 2)
        assert time.monotonic() - started < 3, "when the lease of one second is over, not later"


@pytest.mark.integration
async def test_a_message_of_another_process_wakes_a_waiting_consumer(tmp_path: Path) -> None:
    path = tmp_path / "q.sqlite"
    async with DurableQueue(path, poll_s=0.05) as queue:
        waiting = [asyncio.create_task(queue.lease("coder")) for _ in range(3)]
        with actor("produce", path, "p"):
            leases = await asyncio.wait_for(asyncio.gather(*waiting), 20)
        assert len({lease.message.message_id for lease in leases if lease is not None}) == 3


@pytest.mark.integration
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_killed_consumers_lose_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "q.sqlite"
    dice = random.Random(seed)
    number = 60

    async def fill() -> None:
        async with DurableQueue(path, max_attempts=50) as queue:
            await asyncio.gather(*(queue.enqueue(message(message_id=f"m{n}")) for n in range(number)))

    asyncio.run(fill())
    with contextlib.ExitStack() as stack:
        actors = [stack.enter_context(actor("consume", path, f"c{index}")) for index in range(2)]
        for round_ in range(3):
            victim = actors[round_ % 2]
            wanted = 1 + dice.randrange(6)
            # The other one may empty the queue while the new one starts.
            while victim.count("acked") < wanted and not drained(path):
                time.sleep(0.002)
            time.sleep(dice.uniform(0, 0.01))
            victim.kill()
            actors[round_ % 2] = stack.enter_context(actor("consume", path, f"c{round_ + 2}"))
            actors.append(victim)
            actors[round_ % 2].until("ready")
            if drained(path):
                break
        deadline = time.monotonic() + 40
        while not drained(path):
            assert time.monotonic() < deadline, Counter(rows(path).values())
            time.sleep(0.05)
    acked = Counter(line.split()[1] for one in actors for line in one.lines() if line.startswith("acked"))
    got = Counter(line.split()[1] for one in actors for line in one.lines() if line.startswith("got"))
    assert len(rows(path)) == number
    assert set(got) == set(rows(path))
    assert max(acked.values()) == 1, "one who was told that it is done is the only one"
    repeated = [name for name, times in got.items() if times > 1]
    assert len(repeated) <= 3, "only what a killed one held came again"
