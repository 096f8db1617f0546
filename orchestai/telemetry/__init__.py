"""What the running system tells of itself: Prometheus metrics and OpenTelemetry spans, behind one small facade.

Importing this loads neither library; `open_telemetry` loads what the configuration asks for.
"""

from __future__ import annotations

from orchestai.telemetry.facade import (
    ExecutionWatch,
    NoTelemetry,
    OnEvent,
    Telemetry,
    open_telemetry,
)

__all__ = ["ExecutionWatch", "NoTelemetry", "OnEvent", "Telemetry", "open_telemetry"]
