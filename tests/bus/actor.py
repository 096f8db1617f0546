"""Processes that tests kill: `python -m tests.bus.actor produce|consume FILE NAME`; each line tells what is certain."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from orchestai.bus import DurableQueue
from tests.bus.messages import message


async def produce(queue: DurableQueue, name: str) -> None:
    for number in range(1_000_000):
        await queue.enqueue(message(message_id=f"{name}-{number}", text=str(number)))
        say("accepted", f"{name}-{number}")


async def consume(queue: DurableQueue, name: str) -> None:
    while True:
        lease = await queue.lease("coder")
        assert lease is not None
        say("got", f"{lease.message.message_id} {lease.attempt}")
        await asyncio.sleep(0.002)
        await queue.ack(lease)
        say("acked", lease.message.message_id)


async def hold(queue: DurableQueue, name: str) -> None:
    lease = await queue.lease("coder")
    assert lease is not None
    say("got", lease.message.message_id)
    await asyncio.sleep(600)


def say(what: str, which: str) -> None:
    sys.stdout.write(f"{what} {which}\n")
    sys.stdout.flush()


async def main(role: str, path: str, name: str) -> None:
    async with DurableQueue(Path(path), visibility_s=1.0, max_attempts=50, poll_s=0.05) as queue:
        say("ready", name)
        await {"produce": produce, "consume": consume, "hold": hold}[role](queue, name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
