"""What the loop needs around it: a service and its workers as processes, and somebody who asks."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parents[2]
MOST = 3000
"""Instructions that the workers know the answer to."""

_KINDS = (
    "Summarise note {n} about the harbour in one sentence.",
    "Translate note {n} about the harbour into French.",
    "Classify the tone of note {n} about the harbour as positive or negative.",
)


def text_of(number: int) -> str:
    """Return an instruction; three kinds take turns."""
    return _KINDS[number % len(_KINDS)].format(n=f"N{number}")


def references() -> dict[str, str]:
    """Return the accepted answer to every instruction, also where a planner leaves out the full stop."""
    return {text_of(number).rstrip("."): f"Note N{number} is done." for number in range(MOST)}


def write_workers(configs: Path, port: int) -> None:
    """Leave two workers, behind one address: as good as each other, and one a little dearer than the other."""
    for file in (configs / "workers").glob("*.yml"):
        file.unlink()
    workers = [
        {
            "name": name,
            "description": description,
            "model": name,
            "base_url": f"http://127.0.0.1:{port}/v1",
            "modalities": ["chat"],
            "input_usd_per_mtok": price,
            "output_usd_per_mtok": 4 * price,
            "typical_latency_ms": 20,
            "simulation": {"quality": {"default": 1.0}, "latency_ms": 20, "latency_sigma": 0.2},
        }
        for name, description, price in (
            ("harbour-clerk", "Simulated clerk: summaries, translations and labels of short notes.", 0.100),
            ("travel-desk", "Simulated desk of a travel agency: knows trains, ships and their times.", 0.104),
        )
    ]
    (configs / "workers" / "world.yml").write_text(yaml.safe_dump({"workers": workers}), encoding="utf-8")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A process of ours that listens on a port, and its log."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        deadline = time.monotonic() + 120
        while True:
            assert self.process.poll() is None, log.read_text(errors="replace")[-3000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
                time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def simulator(port: int, log: Path, *changed: str) -> Process:
    """Start the workers; `changed` names one and the quality that it has now."""
    return Process(["-m", "tests.e2e.simulator_process", str(port), *changed], port, log)


def service(port: int, log: Path) -> Process:
    """Start `orchestai serve`."""
    return Process(["-m", "orchestai.cli.main", "serve", "--port", str(port)], port, log)


class Traffic:
    """People who ask, each time something else; every answer that they got is kept.

    Attributes:
        answers: The answers by execution id.
    """

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self._numbers: Iterator[int] = iter(range(MOST))
        self.answers: dict[str, dict[str, Any]] = {}

    def ask(self, count: int) -> list[dict[str, Any]]:
        """Ask so many times, four at a time."""
        numbers = [next(self._numbers) for _ in range(count)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(self._ask, numbers))
        self.answers.update((each["execution_id"], each) for each in found)
        return found

    def until(self, holds: Callable[[], Any], *, at_a_time: int, most: int, pause_s: float) -> int:
        """Ask until something holds; return how often."""
        asked = 0
        while not holds():
            assert asked < most, f"it still does not hold after {asked} instructions"
            self.ask(at_a_time)
            asked += at_a_time
            time.sleep(pause_s)
        return asked

    def _ask(self, number: int) -> dict[str, Any]:
        body = {"text": text_of(number), "acceptance": [{"kind": "contains", "value": f"N{number} is done"}]}
        answer = self._http.post("/v1/instructions", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def close(self) -> None:
        self._http.close()
