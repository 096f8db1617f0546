"""Where spans go: what OTEL_* variables say, then the configuration, then nowhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from orchestai.config import Settings, TracingConfig
from orchestai.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

_YES = frozenset({"true", "1", "yes"})
_CONTENT = _YES | {"span_only", "span_and_event"}
_PROTOCOL = "http/protobuf"
_LEAVE_S = 3.0
_SAMPLERS = ("always_on", "always_off", "traceidratio")


@dataclass(frozen=True)
class ExporterChoice:
    """Where spans go.

    Attributes:
        kind: How.
        endpoint: Full URL, for `otlp`.
        headers: Headers for it; they may hold a key.
    """

    kind: Literal["otlp", "console"]
    endpoint: str = ""
    headers: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return f"ExporterChoice({self.kind!r}, {self.endpoint!r})"


def choose_exporter(config: TracingConfig, settings: Settings) -> ExporterChoice | None:
    """Return where spans go; null if nobody asked for any.

    Raises:
        ConfigError: A variable asks for what is not supported.
    """
    env = settings.env
    if (env("OTEL_SDK_DISABLED") or "").lower() in _YES:
        return None
    endpoint = env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    base = env("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint is None and base is not None:
        endpoint = _traces_url(base)
    kind = env("OTEL_TRACES_EXPORTER") or config.exporter or ("otlp" if endpoint else "none")
    if kind == "none":
        return None
    if kind == "console":
        return ExporterChoice("console")
    if kind != "otlp":
        raise _wrong("OTEL_TRACES_EXPORTER", f"must be otlp, console or none, got {kind!r}.")
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = env(variable)
        if protocol is not None and protocol != _PROTOCOL:
            raise _wrong(variable, f"must be {_PROTOCOL}, got {protocol!r}.")
    headers = env("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or env("OTEL_EXPORTER_OTLP_HEADERS")
    return ExporterChoice("otlp", endpoint or _traces_url(config.endpoint), _pairs(headers) if headers else None)


def captures_content(config: TracingConfig, settings: Settings) -> bool:
    """Say whether prompts and answers may stand in spans."""
    asked = settings.env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
    return config.content if asked is None else asked.lower() in _CONTENT


class Pipeline:
    """The SDK's provider and its exporter, which works in a thread of its own, in batches.

    Args:
        choice: Where spans go.
        config: Name and sampling.
        settings: The environment.

    Raises:
        ConfigError: A variable asks for a sampler that is not supported.
    """

    def __init__(self, choice: ExporterChoice, config: TracingConfig, settings: Settings) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = _pairs(settings.env("OTEL_RESOURCE_ATTRIBUTES") or "")
        service = settings.env("OTEL_SERVICE_NAME") or named.pop("service.name", None) or config.service_name
        self._exporter = _exporter(choice)
        self.provider = TracerProvider(
            sampler=choose_sampler(config, settings), resource=Resource({**named, "service.name": service})
        )
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    def close(self) -> None:
        """Send what waits; a collector that does not answer is left after three seconds."""
        # The SDK alone would go on trying for ten seconds, and the user's command with it.
        hurry = threading.Timer(_LEAVE_S, self._exporter.shutdown)
        hurry.daemon = True
        hurry.start()
        try:
            self.provider.shutdown()
        finally:
            hurry.cancel()


def choose_sampler(config: TracingConfig, settings: Settings) -> Sampler:
    """Return which executions are traced; a caller that traces decides for its own.

    Raises:
        ConfigError: The sampler is not supported.
    """
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

    name = settings.env("OTEL_TRACES_SAMPLER")
    if name is None:
        return ParentBased(TraceIdRatioBased(config.sample_ratio))
    plain = name.removeprefix("parentbased_")
    if plain not in _SAMPLERS:
        raise _wrong("OTEL_TRACES_SAMPLER", f"must be one of {', '.join(_SAMPLERS)}, got {name!r}.")
    root: Sampler
    if plain == "traceidratio":
        root = TraceIdRatioBased(_ratio(settings.env("OTEL_TRACES_SAMPLER_ARG") or "1"))
    else:
        root = ALWAYS_ON if plain == "always_on" else ALWAYS_OFF
    return ParentBased(root) if name != plain else root


def _exporter(choice: ExporterChoice) -> SpanExporter:
    if choice.kind == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)  # standard output belongs to the answer
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=choice.endpoint, headers=dict(choice.headers) if choice.headers else None)


def _traces_url(base: str) -> str:
    return f"{base.rstrip('/')}/v1/traces"


def _pairs(text: str) -> dict[str, str]:
    """Read `key=value,key=value`, percent-encoded; what has no `=` is left out."""
    pairs = (part.split("=", 1) for part in text.split(",") if "=" in part)
    return {unquote(key.strip()): unquote(value.strip()) for key, value in pairs}


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise _wrong("OTEL_TRACES_SAMPLER_ARG", f"must be a number between 0 and 1, got {text!r}.")
    return ratio


def _wrong(variable: str, message: str) -> ConfigError:
    return ConfigError([ConfigProblem("environment", None, variable, message, "Correct or unset the variable.")])
