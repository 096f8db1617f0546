"""What is off costs nothing and loads nothing; what is asked for is on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestai.config import Project, TelemetryConfig, TracingConfig
from orchestai.contracts import ExecutionEvent
from orchestai.errors import ConfigError
from orchestai.telemetry import NoTelemetry, open_telemetry
from orchestai.telemetry.exporter import captures_content, choose_exporter, choose_sampler
from orchestai.telemetry.watch import LiveTelemetry
from tests.engine.scripted import ScriptedWorker, answer, make_plan
from tests.telemetry.harness import INSTRUCTION, run_watched, settings


def test_nothing_is_asked_for_and_nothing_is_loaded() -> None:
    code = (
        "import sys; from orchestai.telemetry import open_telemetry;"
        "from orchestai.config import Settings, TelemetryConfig;"
        "t = open_telemetry(TelemetryConfig(), Settings.from_mapping({}), metrics=False);"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "print(type(t).__name__, sorted(loaded & {'prometheus_client', 'opentelemetry'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "NoTelemetry []"


def test_metrics_alone_load_no_tracing() -> None:
    code = (
        "import sys; from orchestai.telemetry import open_telemetry;"
        "from orchestai.config import Settings, TelemetryConfig;"
        "t = open_telemetry(TelemetryConfig(), Settings.from_mapping({}));"
        "print(type(t).__name__, 'opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["LiveTelemetry", "False"]


async def test_without_telemetry_the_engine_gets_the_hosts_own_listener(project: Project) -> None:
    telemetry = NoTelemetry()
    seen: list[ExecutionEvent] = []
    worker = ScriptedWorker("w0", answer("A"))
    assert telemetry.worker(worker) is worker
    assert telemetry.execution("e", INSTRUCTION, on_event=seen.append).on_event == seen.append
    assert telemetry.execution("e", INSTRUCTION).on_event is None
    result = await run_watched(telemetry, project, {"w0": worker}, make_plan(((),)), on_event=seen.append)
    assert result.success
    assert [event.status for event in seen] == ["running", "done"]
    assert telemetry.render()[0] == b""


def test_metrics_alone_leave_worker_and_listener_alone() -> None:
    telemetry = open_telemetry(TelemetryConfig(), settings())
    worker = ScriptedWorker("w0", answer("A"))
    assert telemetry.worker(worker) is worker
    assert telemetry.execution("e", INSTRUCTION).on_event is None, "no events are made for metrics"


def test_metrics_can_be_turned_off() -> None:
    assert isinstance(open_telemetry(TelemetryConfig(metrics=False), settings()), NoTelemetry)
    traced = open_telemetry(TelemetryConfig(metrics=False, tracing=TracingConfig(exporter="console")), settings())
    assert isinstance(traced, LiveTelemetry)
    assert traced.metrics is None
    assert traced.tracing is not None
    traced.close()
    traced.close()


@pytest.mark.parametrize(
    ("environment", "config", "expected"),
    [
        ({}, {}, None),
        ({}, {"exporter": "none"}, None),
        ({}, {"exporter": "otlp"}, "http://127.0.0.1:4318/v1/traces"),
        ({}, {"exporter": "otlp", "endpoint": "http://c:1/base/"}, "http://c:1/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, {}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, {"exporter": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/x"}, {}, "http://t:1/x"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
            {},
            "http://t:1/x",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {"exporter": "none"}, "http://127.0.0.1:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, {"exporter": "otlp"}, None),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, {}, None),
        ({"OTEL_TRACES_EXPORTER": "console"}, {}, ""),
    ],
)
def test_where_spans_go(environment: dict[str, str], config: dict[str, str], expected: str | None) -> None:
    choice = choose_exporter(TracingConfig.model_validate(config), settings(**environment))
    assert (choice.endpoint if choice is not None else None) == expected


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ],
)
def test_what_is_not_supported_is_said(variable: str, text: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", variable: text}
    with pytest.raises(ConfigError, match=f"{variable}.*{text}"):
        choose_exporter(TracingConfig(), settings(**environment))


def test_headers_are_read_and_never_shown() -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s%3Dcret, x=1"}
    choice = choose_exporter(TracingConfig(), settings(**environment))
    assert choice is not None
    assert choice.headers == {"api-key": "s=cret", "x": "1"}
    assert "cret" not in repr(choice)


@pytest.mark.parametrize(
    ("environment", "ratio", "expected"),
    [
        ({}, 1.0, "ParentBased{root:TraceIdRatioBased{1.0}"),
        ({}, 0.25, "ParentBased{root:TraceIdRatioBased{0.25}"),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 1.0, "AlwaysOffSampler"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 1.0, "TraceIdRatioBased{0.5}"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 0.0, "ParentBased{root:AlwaysOnSampler"),
    ],
)
def test_which_executions_are_traced(environment: dict[str, str], ratio: float, expected: str) -> None:
    sampler = choose_sampler(TracingConfig(sample_ratio=ratio), settings(**environment))
    assert sampler.get_description().startswith(expected)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
    ],
)
def test_a_wrong_sampler_is_said(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="OTEL_TRACES_SAMPLER"):
        choose_sampler(TracingConfig(), settings(**environment))


@pytest.mark.parametrize(
    ("content", "variable", "expected"),
    [
        (False, None, False),
        (True, None, True),
        (False, "true", True),
        (False, "SPAN_ONLY", True),
        (True, "false", False),
    ],
)
def test_content_is_asked_for(content: bool, variable: str | None, expected: bool) -> None:
    environment = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": variable} if variable else {}
    assert captures_content(TracingConfig(content=content), settings(**environment)) is expected
