"""Spans reach a real collector on loopback, and one that is down harms nobody."""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pytest_httpserver import HTTPServer

from orchestai.config import Project, TelemetryConfig
from orchestai.telemetry import open_telemetry
from tests.engine.scripted import ScriptedWorker, answer, make_plan
from tests.telemetry.harness import run_watched, settings


@pytest.mark.integration
async def test_a_collector_gets_the_spans(project: Project, httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/v1/traces", method="POST").respond_with_data(b"", content_type="application/x-protobuf")
    telemetry = open_telemetry(
        TelemetryConfig(),
        settings(
            OTEL_EXPORTER_OTLP_ENDPOINT=httpserver.url_for("/"),
            OTEL_EXPORTER_OTLP_HEADERS="x-team=planning",
            OTEL_SERVICE_NAME="orchestai-test",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=ci",
        ),
    )
    await run_watched(telemetry, project, {"w0": ScriptedWorker("w0", answer("A"))}, make_plan(((),)))
    telemetry.close()
    names = []
    for request, _ in httpserver.log:
        assert request.headers["x-team"] == "planning"
        body = request.get_data()
        body = gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body
        message = ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
            assert attributes["service.name"] == "orchestai-test"
            assert attributes["deployment.environment.name"] == "ci"
            names += [span.name for scope in resource.scope_spans for span in scope.spans]
    assert sorted(names) == ["chat w0", "invoke_agent generation", "invoke_workflow orchestai", "plan"]


@pytest.mark.integration
async def test_a_collector_that_is_down_harms_nobody(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    telemetry = open_telemetry(TelemetryConfig(), settings(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}"))
    started = time.monotonic()
    result = await run_watched(telemetry, project, {"w0": ScriptedWorker("w0", answer("A"))}, make_plan(((),)))
    assert result.success
    assert time.monotonic() - started < 2
    telemetry.close()
    assert time.monotonic() - started < 7, "three seconds are enough to leave"
