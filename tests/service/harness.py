"""The service on a real port, in a thread of the test."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from orchestai.app.runtime import build_runtime
from orchestai.config import Project
from orchestai.service.app import create_app
from orchestai.service.metrics import ServiceMetrics
from orchestai.service.serving import Server, uvicorn_config
from orchestai.service.state import Service
from orchestai.service.tokens import Token, TokenFile, digest_of, new_secret, token_file


class Running:
    """A service that answers, and a client of it."""

    def __init__(self, url: str, service: Service, server: Server) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.service = service
        self.server = server
        self.http = httpx.Client(base_url=url, timeout=20)

    def post(self, text: str = "What is the capital of France?", **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", None)
        return self.http.post("/v1/instructions", json={"text": text, **fields}, headers=headers)

    def ended(self, execution_id: str, **headers: str) -> dict[str, Any]:
        """Wait for the end of an execution and return it."""
        return self.until(execution_id, lambda found: found["status"] not in ("accepted", "running"), **headers)

    def until(self, execution_id: str, holds: Callable[[dict[str, Any]], bool], **headers: str) -> dict[str, Any]:
        deadline = time.monotonic() + 15
        while True:
            found: dict[str, Any] = self.http.get(f"/v1/executions/{execution_id}", headers=headers).json()
            if holds(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def raw(self, request: bytes, *, timeout: float = 10) -> bytes:
        """Send bytes and return all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(request)
            return drain(connection)


def drain(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


@contextlib.contextmanager
def running(project: Project, *, mock: bool = False, **changes: Any) -> Iterator[Running]:
    """Serve a project on a free port until the block ends."""
    config = project.service.model_copy(update={"poll_s": 0.1, "grace_s": 5.0, **changes})
    runtime = build_runtime(project.model_copy(update={"service": config}), mock=mock, metrics=True)
    app = create_app(runtime, config, metrics=ServiceMetrics(CollectorRegistry()))
    ready = threading.Event()
    server = Server(uvicorn_config(app, config), app.state.service)
    server.on_ready = ready.set
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            assert ready.wait(15), "the service did not start"
            found = Running(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.service, server)
            with found.http:
                yield found
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the service did not stop"


def give_token(project: Project, name: str, **fields: Any) -> dict[str, str]:
    """Make a token and return the header that carries it."""
    secret = new_secret()
    TokenFile(token_file(project)).add(Token(name=name, sha256=digest_of(secret), **fields))
    return {"Authorization": f"Bearer {secret}"}


def events_of(text: str) -> list[tuple[str, Any]]:
    """Read server-sent events."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found
