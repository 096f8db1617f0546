"""The soak of `bench.service`: a fixed rate, faults on both sides, kills; then the log is counted."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.faulty_stub import running_faulty_stub
from bench.service_process import ServiceProcess, write_project
from orchestai.logs.quarantine import BadLine
from orchestai.logs.reader import iter_segment
from orchestai.logs.segments import all_segments, list_days

_SETTLE_SHARE = 0.1
"""Share of the soak after which memory counts: by then caches and pools have their size."""
_KEYS = 50
"""Clients that repeat themselves share so many keys."""


@dataclass
class Tally:
    """What the clients saw."""

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    spent_ms: list[float] = field(default_factory=list)


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run the soak and return what came of it."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_faulty_stub(options.faults, delay_ms=options.delay_ms) as stub,
    ):
        project = write_project(Path(scratch) / "project", engine={"backoff_min_s": 0.1, "backoff_max_s": 1.0})
        home = Path(scratch) / "home"
        tally = Tally()
        with ServiceProcess(project, home, stub, timeout_s=2.0) as service:
            memory = asyncio.run(_soak(service, tally, options))
        logged = count_lines(home / "execution_logs")
    lost = [name for name in tally.acknowledged if name not in logged]
    repeated = [name for name, lines in logged.items() if lines > 1]
    ordered = sorted(tally.spent_ms)
    return {
        "seconds": options.soak,
        "rate": options.rate,
        "fault_share": options.faults,
        "kills": options.kills,
        "sent": tally.sent,
        "kinds": dict(tally.kinds),
        "statuses": dict(tally.statuses),
        "acknowledged": len(tally.acknowledged),
        "logged": len(logged),
        "lost": len(lost),
        "repeated": len(repeated),
        "p50_ms": ordered[len(ordered) // 2] if ordered else None,
        "p99_ms": ordered[int(0.99 * (len(ordered) - 1))] if ordered else None,
        **memory,
    }


def count_lines(directory: Path) -> Counter[str]:
    """Count the lines of each execution in a log; a resumed one has one line, for the attempt that ended."""
    found: Counter[str] = Counter()
    for day in list_days(directory):
        for path in all_segments(directory, day):
            for item in iter_segment(path):
                if not isinstance(item, BadLine):
                    found[item.execution_id] += 1
    return found


async def _soak(service: ServiceProcess, tally: Tally, options: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(7)
    started = time.monotonic()
    ends = started + options.soak
    # The kills come early, so that memory is watched over the longest part of the life of one process.
    kills = [started + options.soak * 0.2 * (number + 1) / (options.kills + 1) for number in range(options.kills)]
    settled = started + options.soak * (0.2 if kills else 0.0) + options.soak * _SETTLE_SHARE
    samples: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60)
    ) as session:
        due, sample_due = started, settled
        while (now := time.monotonic()) < ends:
            if kills and now >= kills[0]:
                kills.pop(0)
                await asyncio.to_thread(service.kill)
                await asyncio.to_thread(service.start)
                due = time.monotonic()
            if now >= sample_due:
                samples.append(service.rss_mb())
                sample_due = now + max(1.0, options.soak / 100)
            task = asyncio.create_task(_ask(session, service.url, tally, rng))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += 1 / options.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*tasks, return_exceptions=True)
        await _until_all_ended(session, service.url)
    samples.append(service.rss_mb())
    # The median of the first and of the last tenth: single samples hold what happens to be in flight.
    part = max(1, len(samples) // 10)
    first, last = sorted(samples[:part])[part // 2], sorted(samples[-part:])[part // 2]
    return {
        "rss_mb_start": first,
        "rss_mb_end": last,
        "rss_growth_pct": 100 * (last / first - 1),
        "rss_mb_samples": [round(samples[index], 1) for index in range(0, len(samples), max(1, len(samples) // 20))],
    }


async def _ask(session: aiohttp.ClientSession, url: str, tally: Tally, rng: random.Random) -> None:
    tally.sent += 1
    kind = rng.choices(("plain", "later", "stream", "repeat", "hang_up", "wrong"), (60, 10, 10, 10, 5, 5))[0]
    tally.kinds[kind] += 1
    body: dict[str, Any] = {"text": f"What is {rng.randrange(10**6)} in words?"}
    headers = {}
    if kind == "repeat":
        number = rng.randrange(_KEYS)
        body, headers = {"text": f"Name number {number}."}, {"Idempotency-Key": f"k-{number}"}
    elif kind in ("later", "stream"):
        body |= {"wait": False} if kind == "later" else {"stream": True}
    elif kind == "wrong":
        body["txet"] = "?"
    timeout = aiohttp.ClientTimeout(0.02) if kind == "hang_up" else None
    began = time.perf_counter()
    try:
        async with session.post(f"{url}/v1/instructions", json=body, headers=headers, timeout=timeout) as response:
            if "X-Execution-Id" in response.headers:
                tally.acknowledged.add(response.headers["X-Execution-Id"])
            await response.read()
            tally.statuses[str(response.status)] += 1
            if kind == "plain" and response.status == 200:
                tally.spent_ms.append(1000 * (time.perf_counter() - began))
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.statuses[type(error).__name__] += 1


async def _until_all_ended(session: aiohttp.ClientSession, url: str) -> None:
    """Wait for what the clients did not wait for."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        open_ones = 0
        for status in ("accepted", "running"):
            async with session.get(f"{url}/v1/executions", params={"status": status, "limit": 1}) as response:
                open_ones += len((await response.json())["executions"])
        if not open_ones:
            return
        await asyncio.sleep(0.2)
    raise RuntimeError("Executions were still open a minute after the last request.")
