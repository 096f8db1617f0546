"""Runs the simulator's server in a background thread for as long as a block lasts."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aiohttp import web

from orchestai.config import SimulatorConfig
from orchestai.contracts import WorkerCatalog
from orchestai.errors import EndpointError
from orchestai.simulator.server import create_app


@dataclass(frozen=True)
class RunningSimulator:
    """Where the simulator listens."""

    host: str
    port: int

    @property
    def base_url(self) -> str:
        """What clients are given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"


@contextlib.contextmanager
def serve(
    catalog: WorkerCatalog, config: SimulatorConfig, *, references: Mapping[str, str] | None = None
) -> Iterator[RunningSimulator]:
    """Serve the simulated workers of `catalog` until the block ends.

    Raises:
        EndpointError: The port is taken, the address is not ours, or the catalog has no simulated worker.
    """
    if not any(profile.simulated for profile in catalog.profiles()):
        raise EndpointError("The catalog has no simulated worker.", remedy="Give at least one worker a `simulation:`.")
    listener = _listen(config.host, config.port)
    app = create_app(catalog.profiles(), seed=config.seed, references=references, time_scale=config.time_scale)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    thread = threading.Thread(target=_run, args=(loop, runner), name="orchestai-simulator", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(_start(runner, listener), loop).result()
        yield RunningSimulator(config.host, listener.getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listener.close()


def _run(loop: asyncio.AbstractEventLoop, runner: web.AppRunner) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _start(runner: web.AppRunner, listener: socket.socket) -> None:
    await runner.setup()
    await web.SockSite(runner, listener).start()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EndpointError(
                f"The simulator cannot listen on {host}:{port}: the port is taken.",
                remedy="Stop what uses it, or choose another one (`simulator.port`, 0 takes a free one).",
            ) from error
        raise EndpointError(
            f"The simulator cannot listen on {host}:{port} ({error.strerror or error}).",
            remedy="Set `simulator.host` to an address of this machine, such as 127.0.0.1.",
        ) from error
