"""The one thing that hosts know of telemetry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from orchestai.config import Settings, TelemetryConfig
from orchestai.contracts import ExecutionEvent, ExecutionResult, Instruction, Plan, Worker
from orchestai.telemetry.slots import Slots
from orchestai.telemetry.sources import Sources

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

OnEvent = Callable[[ExecutionEvent], None]

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class ExecutionWatch(Protocol):
    """Watches one execution; a context manager around all that is done for it."""

    @property
    def on_event(self) -> OnEvent | None:
        """What the engine is to be given, read within the block; the host's own function where nothing listens."""

    def planned(self, plan: Plan, *, given: bool = False) -> None:
        """The plan is known; `given` if it was not made now but came with the request or from an earlier attempt."""

    def finished(self, result: ExecutionResult, *, cancelled: bool = False) -> None:
        """The engine is done; without this the block's exception says how it ended."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


class Telemetry(Protocol):
    """Takes down what happens. Every method is thread safe, fast, and never raises for the sake of a metric."""

    @property
    def sources(self) -> Sources:
        """What is asked when metrics are read; hosts fill it in."""

    @property
    def registry(self) -> CollectorRegistry | None:
        """Where the metrics are, for a host that adds its own; null if there are none."""

    def execution(
        self,
        execution_id: str,
        instruction: Instruction,
        *,
        on_event: OnEvent | None = None,
        traceparent: str | None = None,
    ) -> ExecutionWatch:
        """Watch one execution from its acceptance to its last durable record.

        Args:
            execution_id: Identity of the execution.
            instruction: What is asked.
            on_event: The host's own listener.
            traceparent: The caller's span, as the W3C header of that name says it.
        """

    def worker(self, worker: Worker) -> Worker:
        """Return a worker whose calls are traced; the same one where nothing is."""

    def slots(self, slots: Slots) -> Slots:
        """Return slots that tell how long calls wait for them; the same ones where nobody is told."""

    def limiter_waited(self, worker: str, seconds: float) -> None:
        """A call waited for a slot of a worker; `slots` tells it."""

    def limiter_rejected(self, worker: str) -> None:
        """A call was turned away because too many wait for that worker; `slots` tells it."""

    def log_written(self, records: int, size: int, seconds: float) -> None:
        """The execution log wrote and synced a group of records of that many bytes."""

    def log_failed(self) -> None:
        """The execution log could not write a group of records."""

    def store_committed(self, writes: int, seconds: float) -> None:
        """The store of executions wrote and synced a group of changes."""

    def model_in_use(
        self, model: str, version: str, trained_at: float | None = None, quality: Mapping[str, float] | None = None
    ) -> None:
        """Say which version of a learned model works, since when it is trained (Unix time), and how it measured."""

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics and their content type, in the form that an Accept header asks for."""

    def close(self) -> None:
        """Send the spans that wait; closing twice is allowed."""


class NoTelemetry:
    """Takes nothing down."""

    registry = None

    def __init__(self) -> None:
        self.sources = Sources()

    def execution(
        self,
        execution_id: str,
        instruction: Instruction,
        *,
        on_event: OnEvent | None = None,
        traceparent: str | None = None,
    ) -> ExecutionWatch:
        """Do nothing; see `Telemetry`."""
        return _NoWatch(on_event)

    def worker(self, worker: Worker) -> Worker:
        """Return the worker."""
        return worker

    def slots(self, slots: Slots) -> Slots:
        """Return the slots."""
        return slots

    def limiter_waited(self, worker: str, seconds: float) -> None:
        """Do nothing."""

    def limiter_rejected(self, worker: str) -> None:
        """Do nothing."""

    def log_written(self, records: int, size: int, seconds: float) -> None:
        """Do nothing."""

    def log_failed(self) -> None:
        """Do nothing."""

    def store_committed(self, writes: int, seconds: float) -> None:
        """Do nothing."""

    def model_in_use(
        self, model: str, version: str, trained_at: float | None = None, quality: Mapping[str, float] | None = None
    ) -> None:
        """Do nothing."""

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return nothing."""
        return b"", TEXT_FORMAT

    def close(self) -> None:
        """Do nothing."""


class _NoWatch:
    __slots__ = ("on_event",)

    def __init__(self, on_event: OnEvent | None) -> None:
        self.on_event = on_event

    def planned(self, plan: Plan, *, given: bool = False) -> None:
        """Do nothing."""

    def finished(self, result: ExecutionResult, *, cancelled: bool = False) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def open_telemetry(config: TelemetryConfig, settings: Settings, *, metrics: bool = True) -> Telemetry:
    """Return the telemetry that configuration and environment ask for.

    Args:
        config: What is measured and traced.
        settings: The environment; `OTEL_*` variables win over `config`.
        metrics: Whether anybody can read metrics of this host; a command that ends at once has no readers.

    Raises:
        ConfigError: An `OTEL_*` variable has a value that is not supported.
    """
    from orchestai.telemetry.exporter import choose_exporter

    exporter = choose_exporter(config.tracing, settings)
    metrics = metrics and config.metrics
    if exporter is None and not metrics:
        return NoTelemetry()
    from orchestai.telemetry.watch import LiveTelemetry

    return LiveTelemetry.open(config, settings, exporter=exporter, metrics=metrics)
