"""Telemetry that takes down: metrics, spans, or both."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestai.config import Settings, TelemetryConfig
from orchestai.contracts import ExecutionResult, Instruction, Plan, Worker
from orchestai.errors import ApprovalNeededError
from orchestai.telemetry.facade import TEXT_FORMAT, ExecutionWatch, OnEvent
from orchestai.telemetry.slots import Slots, TimedSlot
from orchestai.telemetry.sources import Sources

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from orchestai.telemetry.exporter import ExporterChoice
    from orchestai.telemetry.metrics import Metrics
    from orchestai.telemetry.spans import ExecutionSpans
    from orchestai.telemetry.tracing import Tracing

UNPLANNED = "none"
"""Stands for the planner of an execution that ended before it had a plan."""


class LiveTelemetry:
    """Keeps metrics, spans, or both; see `Telemetry`.

    Args:
        sources: What is asked when metrics are read.
        metrics: The metrics of this process.
        tracing: Where spans go.
    """

    def __init__(
        self, *, sources: Sources | None = None, metrics: Metrics | None = None, tracing: Tracing | None = None
    ) -> None:
        self.sources = sources or Sources()
        self.metrics = metrics
        self.tracing = tracing

    @property
    def registry(self) -> CollectorRegistry | None:
        """Where the metrics are; see `Telemetry`."""
        return None if self.metrics is None else self.metrics.registry

    @classmethod
    def open(
        cls, config: TelemetryConfig, settings: Settings, *, exporter: ExporterChoice | None, metrics: bool
    ) -> Self:
        """Load what is asked for, and nothing else."""
        telemetry = cls()
        if metrics:
            from orchestai.telemetry.metrics import Metrics

            telemetry.metrics = Metrics(telemetry.sources)
        if exporter is not None:
            from orchestai.telemetry.tracing import Tracing

            telemetry.tracing = Tracing.to_exporter(exporter, config.tracing, settings)
        return telemetry

    def execution(
        self,
        execution_id: str,
        instruction: Instruction,
        *,
        on_event: OnEvent | None = None,
        traceparent: str | None = None,
    ) -> ExecutionWatch:
        """Watch one execution; see `Telemetry`."""
        spans = None
        if self.tracing is not None:
            spans = self.tracing.execution(execution_id, instruction, on_event, traceparent)
        return _Watch(self.metrics, spans, on_event)

    def worker(self, worker: Worker) -> Worker:
        """Return a traced worker; see `Telemetry`."""
        return worker if self.tracing is None else self.tracing.worker(worker)

    def slots(self, slots: Slots) -> Slots:
        """Return slots that tell; see `Telemetry`."""
        if self.metrics is None:
            return slots
        waited, rejected = self.limiter_waited, self.limiter_rejected
        return lambda tenant, worker: TimedSlot(slots(tenant, worker), worker, waited, rejected)

    def limiter_waited(self, worker: str, seconds: float) -> None:
        """Note a wait; see `Telemetry`."""
        if self.metrics is not None:
            self.metrics.limiter_wait.labels(worker).observe(seconds)

    def limiter_rejected(self, worker: str) -> None:
        """Note a rejection; see `Telemetry`."""
        if self.metrics is not None:
            self.metrics.limiter_rejections.labels(worker).inc()

    def log_written(self, records: int, size: int, seconds: float) -> None:
        """Note a group of records; see `Telemetry`."""
        if self.metrics is not None:
            self.metrics.log_records.inc(records)
            self.metrics.log_bytes.inc(size)
            self.metrics.log_sync.observe(seconds)

    def log_failed(self) -> None:
        """Note a group that was not written; see `Telemetry`."""
        if self.metrics is not None:
            self.metrics.log_errors.inc()

    def store_committed(self, writes: int, seconds: float) -> None:
        """Note a group of changes; see `Telemetry`."""
        if self.metrics is not None:
            self.metrics.store_writes.inc(writes)
            self.metrics.store_commit.observe(seconds)

    def model_in_use(
        self, model: str, version: str, trained_at: float | None = None, quality: Mapping[str, float] | None = None
    ) -> None:
        """Note a model; see `Telemetry`."""
        if self.metrics is not None:
            self.metrics.model_in_use(model, version, trained_at, quality)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics; see `Telemetry`."""
        return (b"", TEXT_FORMAT) if self.metrics is None else self.metrics.render(accept)

    def close(self) -> None:
        """Send the spans that wait; see `Telemetry`."""
        if self.tracing is not None:
            self.tracing.close()


class _Watch:
    """One execution. Its only work while the engine runs is that of the spans; metrics are moved at the end."""

    __slots__ = ("_cancelled", "_metrics", "_planner", "_result", "_spans", "_started", "on_event")

    def __init__(self, metrics: Metrics | None, spans: ExecutionSpans | None, on_event: OnEvent | None) -> None:
        self._metrics = metrics
        self._spans = spans
        self._planner = UNPLANNED
        self._result: ExecutionResult | None = None
        self._cancelled = False
        self._started = 0.0
        self.on_event = on_event

    def planned(self, plan: Plan, *, given: bool = False) -> None:
        """Note the plan; see `ExecutionWatch`."""
        self._planner = plan.planner
        if self._metrics is not None and not given:
            self._metrics.planned(plan)
        if self._spans is not None:
            self._spans.planned(plan, given=given)

    def finished(self, result: ExecutionResult, *, cancelled: bool = False) -> None:
        """Note the result; see `ExecutionWatch`."""
        self._result = result
        self._cancelled = cancelled

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self._metrics is not None:
            self._metrics.running.inc()
        if self._spans is not None:
            self._spans.start()
            if self._spans.recording:  # one that is not sampled needs no events
                self.on_event = self._spans.listener
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = _status(self._result, error, cancelled=self._cancelled)
        if self._metrics is not None:
            self._metrics.running.dec()
            self._metrics.ended(status, self._planner, time.monotonic() - self._started, self._result)
        if self._spans is not None:
            self._spans.end(status, self._result, error)


def _status(result: ExecutionResult | None, error: BaseException | None, *, cancelled: bool) -> str:
    if isinstance(error, ApprovalNeededError):
        return "waiting"
    if cancelled or isinstance(error, CancelledError):
        return "cancelled"
    if error is not None or result is None:
        return "error"
    if result.success:
        return "succeeded"
    return "not_accepted" if result.completed else "failed"
