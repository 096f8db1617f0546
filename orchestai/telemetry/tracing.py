"""Where spans begin: one tracer, for executions and for single calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Self

from opentelemetry.context import Context
from opentelemetry.trace import Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orchestai.config import Settings, TracingConfig
from orchestai.contracts import Instruction, StreamingWorker, Worker
from orchestai.telemetry.calls import TracedStreamingWorker, TracedWorker
from orchestai.telemetry.content import ContentWriter
from orchestai.telemetry.facade import OnEvent
from orchestai.telemetry.spans import ExecutionSpans

if TYPE_CHECKING:
    from orchestai.telemetry.exporter import ExporterChoice

_SCOPE = "orchestai"


class Tracing:
    """Makes the spans of executions and calls.

    Args:
        provider: Where they go.
        content: Whether prompts, answers and error messages may stand in them.
        secrets: Values that never stand in them.
        close: Sends what waits; a provider of the caller's own is the caller's to close.
    """

    def __init__(
        self,
        provider: TracerProvider,
        *,
        content: bool = False,
        secrets: Iterable[str] = (),
        close: Callable[[], None] | None = None,
    ) -> None:
        self._close = close
        self._tracer: Tracer = provider.get_tracer(_SCOPE)
        self._content = ContentWriter(secrets) if content else None
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to_exporter(cls, choice: ExporterChoice, config: TracingConfig, settings: Settings) -> Self:
        """Send the spans where configuration and environment say."""
        from orchestai.telemetry.exporter import Pipeline, captures_content

        pipeline = Pipeline(choice, config, settings)
        return cls(
            pipeline.provider,
            content=captures_content(config, settings),
            secrets=settings.secrets(),
            close=pipeline.close,
        )

    def execution(
        self, execution_id: str, instruction: Instruction, on_event: OnEvent | None, traceparent: str | None
    ) -> ExecutionSpans:
        """Return the spans of one execution, not started yet."""
        parent: Context | None = None
        if traceparent is not None:
            parent = self._propagator.extract({"traceparent": traceparent})
        return ExecutionSpans(self._tracer, self._content, execution_id, instruction, on_event, parent)

    def worker(self, worker: Worker) -> Worker:
        """Return a worker whose calls have spans of their own."""
        if isinstance(worker, StreamingWorker):
            return TracedStreamingWorker(worker, self._tracer, self._content)
        return TracedWorker(worker, self._tracer, self._content)

    def close(self) -> None:
        """Send what waits and stop."""
        close, self._close = self._close, None
        if close is not None:
            close()
