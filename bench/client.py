"""What one chat call costs the caller: CPU milliseconds and calls a second, for our worker and for other clients.

All clients talk to the same stub (50 ms, in a process of its own) in the same process, turn by turn, so that a busy
machine hurts all of them alike. `openai` is the package over its default httpx transport, `openai_aiohttp` the same
over aiohttp, `aiohttp` a bare `session.post(json=...)` with `json()` of the answer, `orchestai` our worker with its
deadline, error boundary, checks and accounting. Reported is the median over the rounds.

    python -m bench.client --out reports/client.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.command import run_command
from bench.report import data_sha256, write_report
from bench.stub import ANSWER, running_stub
from orchestai.contracts import WorkerProfile, WorkerRequest
from orchestai.workers import OpenAIWorker

PROMPT = "What is the capital of France? Answer in one short sentence. " * 8
SYSTEM = "Be brief."
MAX_TOKENS = 64

Call = Callable[[], Awaitable[str]]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.client", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 64, 384], help="calls at a time")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long one measurement lasts")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each client at each concurrency")
    parser.add_argument("--delay-ms", type=float, default=50.0, help="time to an answer of the stub")
    options = parser.parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        StorageError: The report cannot be written.
    """
    with running_stub(options.delay_ms) as stub:
        results = asyncio.run(_measure_all(stub.base_url, options))
    return write_report(
        options.out,
        bench="client",
        data={
            "stub_delay_ms": options.delay_ms,
            "seconds": options.seconds,
            "rounds": options.rounds,
            "processes": "the stub in one, all clients in another; the system spreads them over the cores",
        },
        sha256=data_sha256([Path(__file__).with_name("stub.py")]),
        seed=None,
        results=results,
    )


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a client and concurrency."""
    print(f"{'':22}{'CPU ms a call':>15}{'calls/s':>12}{'of ideal':>10}")
    for concurrency, clients in report["results"].items():
        for name, values in clients.items():
            print(
                f"{name:16}{concurrency:>6}{values['cpu_ms_per_call']:>15.3f}"
                f"{values['calls_per_s']:>12.0f}{values['share_of_ideal']:>10.0%}"
            )


async def _measure_all(base_url: str, options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    ideal_one = 1000 / options.delay_ms
    results: dict[str, dict[str, dict[str, float]]] = {}
    async with _clients(base_url) as clients:
        for concurrency in options.concurrency:
            ideal = concurrency * ideal_one
            samples: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
            for call in clients.values():
                await _drive(call, 2 * concurrency, concurrency)
            for _ in range(options.rounds):
                for name, call in clients.items():
                    # Nobody reaches the ideal at a high concurrency: 1,500 calls a second keep a round short.
                    count = max(concurrency, int(options.seconds * min(ideal, 1500)))
                    samples[name].append(await _measure(call, count, concurrency))
            results[str(concurrency)] = {
                name: {
                    "cpu_ms_per_call": statistics.median(cpu for cpu, _ in taken),
                    "calls_per_s": (rate := statistics.median(rate for _, rate in taken)),
                    "share_of_ideal": rate / ideal,
                }
                for name, taken in samples.items()
            }
    return results


async def _measure(call: Call, count: int, concurrency: int) -> tuple[float, float]:
    """Return CPU milliseconds a call of this process, and calls a second."""
    cpu, wall = time.process_time(), time.perf_counter()
    await _drive(call, count, concurrency)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / count * 1000, count / wall


async def _drive(call: Call, count: int, concurrency: int) -> None:
    left = iter(range(count))

    async def drive_one() -> None:
        for _ in left:
            answer = await call()
            assert answer == ANSWER

    await asyncio.gather(*(drive_one() for _ in range(concurrency)))


@asynccontextmanager
async def _clients(base_url: str) -> AsyncIterator[dict[str, Call]]:
    import aiohttp
    from openai import AsyncOpenAI, DefaultAioHttpClient

    messages: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    body = {"model": "stub", "messages": messages, "temperature": 0.0, "max_tokens": MAX_TOKENS}
    # The SDK's own limit of 1,000 connections is above every concurrency here; aiohttp's of 100 is not.
    plain = AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)
    over_aiohttp = AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0, http_client=DefaultAioHttpClient())
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    profile = WorkerProfile(name="stub", description="The stub.", model="stub", base_url=base_url)
    worker = OpenAIWorker(profile, base_url=base_url, api_key="k")
    request = WorkerRequest(task_type="question_answering", system=SYSTEM, prompt=PROMPT, max_output_tokens=MAX_TOKENS)

    async def call_sdk(client: AsyncOpenAI) -> str:
        completion = await client.chat.completions.create(
            model="stub", messages=messages, temperature=0.0, max_tokens=MAX_TOKENS
        )
        return completion.choices[0].message.content or ""

    async def call_aiohttp() -> str:
        headers = {"Authorization": "Bearer k"}
        async with session.post(f"{base_url}/chat/completions", json=body, headers=headers) as response:
            return str(json.loads(await response.read())["choices"][0]["message"]["content"])

    async def call_worker() -> str:
        return str((await worker.run(request)).content)

    try:
        yield {
            "openai": lambda: call_sdk(plain),
            "openai_aiohttp": lambda: call_sdk(over_aiohttp),
            "aiohttp": call_aiohttp,
            "orchestai": call_worker,
        }
    finally:
        await plain.close()
        await over_aiohttp.close()
        await session.close()
        await worker.aclose()


if __name__ == "__main__":
    sys.exit(main())
