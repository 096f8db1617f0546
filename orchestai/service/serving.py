"""Runs the app: where it listens, who may come in, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from orchestai.app.runtime import build_runtime
from orchestai.config import Project, ServiceConfig
from orchestai.errors import EndpointError, InputError
from orchestai.service.app import create_app
from orchestai.service.auth import is_loopback
from orchestai.service.protocol import impatient_protocol
from orchestai.service.state import Service
from orchestai.service.tokens import TokenFile, token_file


def serve(project: Project, *, mock: bool = False, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        project: The configuration.
        mock: Let the simulator play every worker.
        on_ready: Told the base URL as soon as connections are accepted.

    Raises:
        InputError: Others than this machine could call, and no token is configured.
        EndpointError: The address cannot be listened on.
        StorageError: Log, state or tokens cannot be used.
    """
    config = project.service
    check_reach(project)
    with _listen(config) as listener:
        runtime = build_runtime(project, mock=mock, metrics=True)
        try:
            app = create_app(runtime)
            server = Server(uvicorn_config(app, config), app.state.service)
            server.on_ready = lambda: on_ready(_url(listener)) if on_ready is not None else None
            with _signals_end_quietly():
                server.run(sockets=[listener])
        finally:
            runtime.close()


def check_reach(project: Project) -> None:
    """Refuse to be open to others.

    Raises:
        InputError: Others than this machine could call, and no token is configured.
    """
    config = project.service
    if is_loopback(config.host) or config.tokens or TokenFile(token_file(project)).read():
        return
    raise InputError(
        f"{config.host!r} can be reached from other machines, and there is no token: anybody could run instructions.",
        remedy="Make one with `orchestai token create NAME`, or listen on 127.0.0.1.",
    )


def uvicorn_config(app: object, config: ServiceConfig) -> uvicorn.Config:
    """Return uvicorn's settings."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=impatient_protocol(config.header_timeout_s, config.stall_timeout_s),
        loop="asyncio",  # uvloop saves 3 % of the CPU of a request: not worth a second event loop to trust
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # the gateway writes a better one
        server_header=False,
        proxy_headers=bool(config.trusted_proxies),
        forwarded_allow_ips=list(config.trusted_proxies),
        limit_concurrency=config.max_connections,
        timeout_keep_alive=config.keep_alive_s,
        timeout_graceful_shutdown=5,  # for answers that are being sent; executions have `grace_s` before
    )


class Server(uvicorn.Server):
    """Lets executions finish, or leaves them to the next process, before connections are closed.

    Args:
        config: uvicorn's settings.
        service: What is served.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.on_ready: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the app, then listen."""
        await super().startup(sockets)
        if self.started and self.on_ready is not None:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, wait for executions, close."""
        for server in self.servers:
            server.close()
        stopping = asyncio.create_task(self._service.stop(self._service.config.grace_s))
        while not (await asyncio.wait({stopping}, timeout=0.1))[0]:
            if self.force_exit:  # a second Ctrl-C
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)
                await self._service.stop(0.0)
                break
        await super().shutdown(sockets)


def _listen(config: ServiceConfig) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        raise EndpointError(
            f"Cannot listen on {config.host}:{config.port} ({error.strerror or error}).",
            remedy="Choose another port with --port, or stop what uses it.",
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Make SIGTERM an ordinary end: uvicorn raises the signal once more when it is through."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)
