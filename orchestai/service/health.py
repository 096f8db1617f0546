"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from orchestai.app.places import executions_state
from orchestai.errors import OrchestAIError
from orchestai.service.answers import to_json
from orchestai.service.auth import allowed
from orchestai.service.state import Service, service_of

router = APIRouter(tags=["operation"])

_FRESH_S = 1.0
_may_read = allowed("read")


@router.get("/healthz", response_model=None)
async def healthz() -> Response:
    """Say that the process answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz", response_model=None, responses={503: {"description": "Not ready; `reasons` say why."}})
async def readyz(request: Request) -> Response:
    """Say whether instructions are taken: only while what is promised can be kept."""
    reasons = await request.app.state.readiness.reasons()
    body = {"status": "unready", "reasons": reasons} if reasons else {"status": "ready"}
    headers = {"Retry-After": "5"} if reasons else None
    return Response(to_json(body), 503 if reasons else 200, headers, "application/json")


@router.get("/metrics", response_model=None, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    service = service_of(request)
    if not service.config.open_metrics:
        await _may_read(request)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


class Readiness:
    """Tries to write where the service must be able to; looks again after a second.

    Args:
        service: The service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._reasons: list[str] = []
        self._looked = float("-inf")

    async def reasons(self) -> list[str]:
        """Return why the service is not ready; nothing if it is."""
        if self._service.admission.closed:
            return ["The service stops."]
        async with self._lock:
            if time.monotonic() - self._looked > _FRESH_S:
                self._reasons = await asyncio.to_thread(self._look)
                self._looked = time.monotonic()
        return self._reasons

    def _look(self) -> list[str]:
        reasons = []
        state = executions_state(self._service.runtime.project)
        for what, folder in (("execution log", self._service.logger.directory), ("state", state)):
            try:
                _try_to_write(folder)
            except OSError as error:
                reasons.append(f"The {what} cannot be written: {error.strerror}.")
        try:
            self._service.store.flush().result(timeout=10)
        except (OrchestAIError, TimeoutError):
            reasons.append("The state cannot be written.")
        return reasons


def _try_to_write(folder: Path) -> None:
    probe = folder / f".ready-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(b"ready\n")
            file.flush()
            os.fsync(file.fileno())
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
