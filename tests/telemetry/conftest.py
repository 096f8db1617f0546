from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestai.config import Project, TelemetryConfig, load_project
from orchestai.telemetry import Telemetry, open_telemetry
from tests.telemetry.harness import settings


@pytest.fixture(scope="session")
def project() -> Project:
    return load_project()


@pytest.fixture
def metered() -> Telemetry:
    """Return telemetry with metrics and without spans."""
    return open_telemetry(TelemetryConfig(), settings())


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider
    provider.shutdown()
