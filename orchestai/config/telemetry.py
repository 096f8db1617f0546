"""What the running system tells of itself: metrics and spans."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestai.contracts.base import Record


class TracingConfig(Record):
    """OpenTelemetry spans; the variables of OpenTelemetry (`OTEL_*`) win over these keys.

    Attributes:
        exporter: Where spans go: `otlp` (HTTP), `console` (standard error), `none`; null leaves it to
            OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_ENDPOINT, and without them there are no spans.
        endpoint: Base URL of the collector; spans go to `<endpoint>/v1/traces`.
        service_name: How the system is called there.
        sample_ratio: Share of the executions that are traced; a caller's own decision wins.
        content: Put prompts, answers and error messages into the spans; they may hold personal data.
    """

    exporter: Literal["otlp", "console", "none"] | None = None
    endpoint: str = Field(default="http://127.0.0.1:4318", min_length=1)
    service_name: str = Field(default="orchestai", min_length=1)
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    content: bool = False


class TelemetryConfig(Record):
    """What is measured and traced.

    Attributes:
        metrics: Whether the service keeps Prometheus metrics.
        tracing: Spans.
    """

    metrics: bool = True
    tracing: TracingConfig = TracingConfig()
