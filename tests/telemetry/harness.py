"""Runs plans on the real engine, watched as a host watches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from orchestai.config import EngineConfig, Project, Settings
from orchestai.contracts import ExecutionResult, Instruction, Plan, Worker
from orchestai.engine import Engine
from orchestai.engine.execution import OnEvent, Stop
from orchestai.prompts import PromptLibrary
from orchestai.telemetry import Telemetry

INSTRUCTION = Instruction(text="Do it for Ada Lovelace", tenant="acme", session="s-1")


def settings(**environment: str) -> Settings:
    return Settings.from_mapping(environment)


async def run_watched(
    telemetry: Telemetry,
    project: Project,
    workers: Mapping[str, Worker],
    plan: Plan,
    *,
    instruction: Instruction = INSTRUCTION,
    on_event: OnEvent | None = None,
    traceparent: str | None = None,
    stop: Stop | None = None,
    given: bool = False,
    **config: Any,
) -> ExecutionResult:
    quick = {"backoff_min_s": 0.0, "backoff_max_s": 0.0, "backoff_jitter_s": 0.0, **config}
    traced = {name: telemetry.worker(worker) for name, worker in workers.items()}
    engine = Engine(traced, PromptLibrary(project.prompts), project.tasks, EngineConfig.model_validate(quick))
    with telemetry.execution("e-1", instruction, on_event=on_event, traceparent=traceparent) as watch:
        watch.planned(plan, given=given)
        result = await engine.execute(
            instruction, plan, execution_id="e-1", on_event=watch.on_event, stop=stop or Stop()
        )
        watch.finished(result, cancelled=stop is not None and stop.reason is not None)
    return result


def samples(telemetry: Telemetry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read the metrics as Prometheus does."""
    body, _ = telemetry.render()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return samples(telemetry).get((f"orchestai_{name}", frozenset(labels.items())))
