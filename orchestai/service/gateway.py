"""Around every request: its ids, its line in the log, its place in the metrics, and an answer if all else fails."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestai.service.context import open_context
from orchestai.service.metrics import ServiceMetrics
from orchestai.service.problems import ProblemError

_log = logging.getLogger("orchestai.service.access")


class Gateway:
    """Middleware; plain ASGI, because it stands in the way of every request.

    Args:
        app: What answers.
        metrics: Counts requests.
        sample_ratio: Share of the traces that begin here and are sampled.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, sample_ratio: float = 1.0) -> None:
        self._app = app
        self._sample_ratio = sample_ratio
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        context = open_context(
            headers.get(b"x-request-id", b"").decode("latin-1"),
            headers.get(b"traceparent", b"").decode("latin-1"),
            sample_ratio=self._sample_ratio,
        )
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", context.request_id.encode()),
                    (b"traceparent", context.traceparent.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:
            _log.exception("request %s failed", context.request_id)
            if status:
                raise  # half an answer is out: the server cuts the connection
            problem = ProblemError(
                500,
                "internal",
                f"The service failed ({type(error).__name__}).",
                remedy=f"Its log has more under the request id {context.request_id}.",
            )
            await problem.response(scope["path"])(scope, receive, send_marked)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "(none)")
            self._metrics.count(scope["method"], route, status, seconds)
            _log.info("%s %s -> %d in %.1f ms", scope["method"], route, status, seconds * 1000)
