"""What goes wrong, as problem details (RFC 9457), or in OpenAI's form where OpenAI's clients call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from orchestai.contracts import ExecutionResult
from orchestai.errors import (
    EndpointError,
    ExecutionStoppedError,
    IdempotencyError,
    InfeasibleError,
    InputError,
    NoArmError,
    NoWorkerError,
    OrchestAIError,
    RefusedError,
    ResourceLimitError,
    StorageError,
    TransientWorkerError,
    WorkerAuthError,
    WorkerError,
    WorkerRequestError,
)
from orchestai.service.answers import to_json
from orchestai.service.context import current_request

RETRY_AFTER_S = 2.0
"""Said where nobody knows better."""

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Not feasible",
    429: "Too many requests",
    431: "Header fields too large",
    500: "Internal error",
    501: "Not offered",
    502: "A worker refused",
    503: "Unavailable",
    504: "Out of time",
}

_STATUS_OF: tuple[tuple[type[OrchestAIError], int], ...] = (
    # The first that fits: subclasses stand before their bases.
    (IdempotencyError, 409),
    (InputError, 400),
    (RefusedError, 403),
    (ExecutionStoppedError, 409),
    (NoWorkerError, 501),
    (NoArmError, 501),
    (WorkerAuthError, 502),
    (WorkerRequestError, 400),
    (TransientWorkerError, 503),
    (WorkerError, 502),
    (InfeasibleError, 422),
    (ResourceLimitError, 503),
    (StorageError, 503),
    (EndpointError, 503),
)
_STATUS_OF_CODE = {
    # What the last attempt at a sub-task failed with; codes that are not here ended as the caller asked for.
    "worker_auth": 502,
    "worker_failed": 502,
    "no_worker": 501,
    "no_arm": 501,
    "worker_request": 400,
    "internal": 500,
    "sandbox_unavailable": 501,
    **dict.fromkeys(
        (
            "worker_transient",
            "rate_limited",
            "breaker_open",
            "worker_timeout",
            "worker_unavailable",
            "malformed_response",
            "overloaded",
            "endpoint",
            "storage",
        ),
        503,
    ),
}


class ProblemError(Exception):
    """A request that gets no result.

    Args:
        status: HTTP status.
        code: What it is, for programs; it never changes.
        detail: What is wrong, with the thing and the value.
        remedy: What the caller can do about it.
        retry_after_s: When trying again may help.
        headers: Further headers.
        **extensions: Further members of the body.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        remedy: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.extensions = extensions
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))

    def body(self) -> dict[str, Any]:
        """Return the problem details."""
        request = current_request()
        found = {
            "type": f"urn:orchestai:problem:{self.code}",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "remedy": self.remedy,
            "request_id": request.request_id if request else None,
            "trace_id": request.trace_id if request else None,
            **self.extensions,
        }
        return {name: value for name, value in found.items() if value is not None}

    def openai_body(self) -> dict[str, Any]:
        """Return the error as OpenAI's clients know it."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        errors = self.extensions.get("errors") or [{}]
        body = {
            "message": f"{self.detail} {self.remedy}" if self.remedy else self.detail,
            "type": kind,
            "param": self.extensions.get("param", errors[0].get("field")),
            "code": self.code,
        }
        return {"error": body}

    def response(self, path: str = "/") -> Response:
        """Return the answer, in the form that callers of `path` expect."""
        if path.startswith(("/v1/chat", "/v1/models")):
            content, kind = self.openai_body(), "application/json"
        else:
            content, kind = self.body(), "application/problem+json"
        return Response(to_json(content), status_code=self.status, headers=self.headers, media_type=kind)


def problem_of(error: OrchestAIError) -> ProblemError:
    """Say what an error of the library means over HTTP."""
    status = next((status for kind, status in _STATUS_OF if isinstance(error, kind)), 500)
    retry_after_s = getattr(error, "retry_after_s", None)
    if status == 503 and retry_after_s is None:
        retry_after_s = RETRY_AFTER_S
    # Where files lie is no caller's business: the log has it.
    detail = "The service cannot write its state." if isinstance(error, StorageError) else error.message
    remedy = "Try again later." if isinstance(error, StorageError) else error.remedy
    return ProblemError(status, error.code, detail, remedy=remedy, retry_after_s=retry_after_s)


def problem_of_result(result: ExecutionResult, retry_after_s: Callable[[str], float]) -> ProblemError | None:
    """Say whether an execution failed for a reason that the HTTP status should tell.

    An execution that its budget, its deadline or its owner ended is a result: what is done is in it.

    Args:
        result: What came of it.
        retry_after_s: Says when a worker may be asked again; 0 if nothing is known against it.
    """
    if result.completed:
        return None
    for subtask in result.subtasks:
        if subtask.status == "failed" and subtask.error:
            code, _, message = subtask.error.partition(": ")
            status = _STATUS_OF_CODE.get(code)
            if status is None:
                return None
            detail = f"Sub-task {subtask.index} ({subtask.task_type}) failed: {message}"
            wait_s = None
            if status == 503:  # the first of those tried that may be asked again
                tried = (*subtask.gave_up, subtask.worker)
                wait_s = min(retry_after_s(name) for name in tried) or RETRY_AFTER_S
            return ProblemError(status, code, detail, retry_after_s=wait_s, execution_id=result.execution_id)
    return None
