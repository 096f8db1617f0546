"""What belongs to one request: its id and its trace (W3C Trace Context), in headers and in every line of the log."""

from __future__ import annotations

import logging
import random
import re
from contextvars import ContextVar
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request.

    Attributes:
        request_id: The caller's own, or one that was made.
        trace_id: Trace that the request belongs to; a new one if the caller has none.
        span_id: This request in the trace.
        trace_flags: Whether the caller samples the trace.
    """

    request_id: str
    trace_id: str
    span_id: str
    trace_flags: str

    @property
    def traceparent(self) -> str:
        """The header that names this request as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"


_current: ContextVar[RequestContext | None] = ContextVar("orchestai_request", default=None)


def open_context(request_id: str, traceparent: str, *, sample_ratio: float = 1.0) -> RequestContext:
    """Make the context of a request of its headers; values that are not well-formed are replaced.

    A trace that begins here is sampled by its id, as OpenTelemetry's samplers decide; a caller's own decision wins.
    """
    fresh = f"{random.getrandbits(320):080x}"  # ids have to differ, not to be secret; a system call a request is dear
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    sampled = int(fresh[48:64], 16) < sample_ratio * 2**64
    context = RequestContext(
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else fresh[:32],
        trace_id=found[1] if found else fresh[32:64],
        span_id=fresh[64:80],
        trace_flags=found[3] if found else ("01" if sampled else "00"),
    )
    _current.set(context)
    return context


def current_request() -> RequestContext | None:
    """Return the request that is worked on here, if there is one."""
    return _current.get()


class RequestFilter(logging.Filter):
    """Gives each record `request_id` and `trace_id`, for formats that show them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; nothing is filtered out."""
        context = _current.get()
        record.request_id = context.request_id if context else "-"
        record.trace_id = context.trace_id if context else "-"
        return True
