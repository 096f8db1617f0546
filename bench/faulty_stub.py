"""The stub with faults: it refuses, resets, truncates, garbles or keeps silent, each with the same small chance.

`python -m bench.faulty_stub --faults 0.05` prints its base URL and serves until it is stopped; `running_faulty_stub()`
does the same in a process of its own. Equal seeds give equal faults in the order of the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.stub import _Stub

FAULTS = ("error_500", "rate_limit", "reset", "truncated", "garbled", "silence")


@contextlib.contextmanager
def running_faulty_stub(faults: float, *, delay_ms: float = 50.0, seed: int = 7) -> Iterator[str]:
    """Serve in another process until the block ends; give the base URL."""
    command = [sys.executable, "-m", "bench.faulty_stub"]
    command += ["--faults", str(faults), "--delay-ms", str(delay_ms), "--seed", str(seed)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            if not base_url:
                raise RuntimeError(f"The stub did not start (status {process.wait()}).")
            yield base_url
        finally:
            process.terminate()


class _FaultyStub(_Stub):
    """One connection that may go wrong at each answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float, faults: float, rng: random.Random) -> None:
        super().__init__(loop, delay_s)
        self._faults = faults
        self._rng = rng

    def _send(self, answer: bytes) -> None:
        if self._transport is None:
            return
        if self._rng.random() >= self._faults:
            super()._send(answer)
            return
        match self._rng.choice(FAULTS):
            case "error_500":
                self._transport.write(_refusal(b"500 Internal Server Error"))
            case "rate_limit":
                self._transport.write(_refusal(b"429 Too Many Requests", b"Retry-After: 1\r\n"))
            case "reset":
                self._transport.abort()
            case "truncated":
                self._transport.write(answer[: len(answer) // 2])
                self._transport.close()
            case "garbled":
                head, _, body = answer.partition(b"\r\n\r\n")
                self._transport.write(head + b"\r\n\r\n" + b"{" * len(body))
            case "silence":
                pass


def _refusal(status: bytes, header: bytes = b"") -> bytes:
    body = b'{"error": {"message": "injected"}}'
    head = b"HTTP/1.1 %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, header, len(body)) + body


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.faulty_stub", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=float, default=0.05, help="share of the answers that go wrong")
    parser.add_argument("--delay-ms", type=float, default=50.0, help="time to an answer")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(argv)
    asyncio.run(_serve(options.delay_ms / 1000, options.faults, random.Random(options.seed)))
    return 0


async def _serve(delay_s: float, faults: float, rng: random.Random) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: _FaultyStub(loop, delay_s, faults, rng), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(main())
