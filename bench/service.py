"""What the HTTP service adds to a model's answer, and whether it stays sound under load with faults.

python -m bench.service --out report.json [--seconds S] [--rounds N]
python -m bench.service --out report.json --soak SECONDS --rate R [--faults SHARE] [--kills N]

Added latency: the same client asks the stub (50 ms, in its own process) directly and through the service (in its own
process, one-node plan, durable log, as `orchestai serve` runs it), turn by turn, at 1 and 64 connections; reported
is the difference of the percentiles, the median over the rounds.

Soak: requests come at a fixed rate whether answers come or not; workers fail in six ways, a share of the clients hangs
up, repeats itself or does not wait, and the service is killed (SIGKILL) and started again. Then every execution
that was acknowledged is looked up in the log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.command import run_command
from bench.report import data_sha256, write_report
from bench.service_process import ServiceProcess, write_project
from bench.stub import running_stub

if TYPE_CHECKING:
    from aiohttp import ClientSession

TEXT = "What is the capital of France?"

Call = Callable[[], Awaitable[None]]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.service", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64], help="connections at a time")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long one measurement lasts")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way at each number of connections")
    parser.add_argument("--delay-ms", type=float, default=50.0, help="time to an answer of the stub")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of the soak; 0 leaves it out")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second of the soak")
    parser.add_argument("--faults", type=float, default=0.05, help="share of the workers' answers that go wrong")
    parser.add_argument("--kills", type=int, default=1, help="how often the service is killed during the soak")
    parser.add_argument("--skip-latency", action="store_true", help="only the soak")
    options = parser.parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def print_summary(report: dict[str, Any]) -> int:
    """Print the results; return 1 if the soak lost or repeated something."""
    print(json.dumps(report["results"], indent=2))
    soak = report["results"].get("soak")
    return 1 if soak is not None and (soak["lost"] or soak["repeated"]) else 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        StorageError: The report cannot be written.
    """
    results: dict[str, Any] = {}
    if not options.skip_latency:
        results |= measure_latency(options)
    if options.soak:
        from bench.service_soak import soak

        results["soak"] = soak(options)
    return write_report(
        options.out,
        bench="service",
        data={
            "stub_delay_ms": options.delay_ms,
            "seconds": options.seconds,
            "rounds": options.rounds,
            "processes": "stub, service and client in one each; the system spreads them over the cores",
        },
        sha256=data_sha256([Path(__file__).with_name("stub.py")]),
        seed=None,
        results=results,
    )


def measure_latency(options: argparse.Namespace) -> dict[str, Any]:
    """Compare the service with the stub behind it."""
    with tempfile.TemporaryDirectory() as scratch, running_stub(options.delay_ms) as stub:
        project = write_project(Path(scratch) / "project")
        with ServiceProcess(project, Path(scratch) / "home", stub.base_url) as service:
            return asyncio.run(_compare(stub.base_url, service, options))


async def _compare(stub_url: str, service: ServiceProcess, options: argparse.Namespace) -> dict[str, Any]:
    import aiohttp

    added: dict[str, dict[str, float]] = {}
    detail: dict[str, Any] = {}
    cpu_ms: dict[str, list[float]] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        ways = {"direct": _direct(session, stub_url), "service": _through(session, service.url)}
        for connections in options.connections:
            taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
            for call in ways.values():
                await _drive(call, 4 * connections, connections)
            for _ in range(options.rounds):
                for name, call in ways.items():
                    cpu = service.cpu_s()
                    started = time.perf_counter()
                    count = max(connections, int(options.seconds * 1000 / options.delay_ms * min(connections, 16)))
                    spent = await _drive(call, count, connections)
                    rate = count / (time.perf_counter() - started)
                    p50, p99 = percentile(spent, 0.5), percentile(spent, 0.99)
                    taken[name].append((p50, p99, rate))
                    if name == "service":
                        spent_ms = 1000 * (service.cpu_s() - cpu) / count
                        cpu_ms.setdefault(f"c{connections}", []).append(spent_ms)
            key = f"c{connections}"
            middle = {
                name: [statistics.median(each) for each in zip(*rounds, strict=True)] for name, rounds in taken.items()
            }
            added[key] = {
                "p50": middle["service"][0] - middle["direct"][0],
                "p99": middle["service"][1] - middle["direct"][1],
            }
            detail[key] = {
                name: {"p50": values[0], "p99": values[1], "per_s": values[2]} for name, values in middle.items()
            }
    return {
        "added_ms": added,
        "latency_ms": detail,
        "cpu_ms_per_request": {key: statistics.median(values) for key, values in cpu_ms.items()},
    }


def _direct(session: ClientSession, base_url: str) -> Call:
    body = {"model": "stub", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 64}

    async def call() -> None:
        async with session.post(f"{base_url}/chat/completions", json=body) as response:
            assert json.loads(await response.read())["choices"]

    return call


def _through(session: ClientSession, url: str) -> Call:
    async def call() -> None:
        async with session.post(f"{url}/v1/instructions", json={"text": TEXT}) as response:
            found = json.loads(await response.read())
            assert response.status == 200, found
            assert len(found["subtasks"]) == 1, "the plan must have one node"

    return call


async def _drive(call: Call, count: int, connections: int) -> list[float]:
    """Call `count` times over so many connections; return the milliseconds of each."""
    left = iter(range(count))
    spent: list[float] = []

    async def drive_one() -> None:
        for _ in left:
            started = time.perf_counter()
            await call()
            spent.append(1000 * (time.perf_counter() - started))

    await asyncio.gather(*(drive_one() for _ in range(connections)))
    return spent


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
