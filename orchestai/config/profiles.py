"""`project.yml` and `profiles.yml`: settings, and what a target changes in them."""

from __future__ import annotations

from pydantic import Field

from orchestai.config.automation import AutomationConfig
from orchestai.config.dagster import DagsterConfig
from orchestai.config.paths import PathsConfig
from orchestai.config.planning import PlannerConfig, RoutingConfig
from orchestai.config.registry import RegistryConfig
from orchestai.config.runtime import EndpointConfig, EngineConfig, LogsConfig, SimulatorConfig
from orchestai.config.service import ServiceConfig
from orchestai.config.telemetry import TelemetryConfig
from orchestai.config.tracking import TrackingConfig
from orchestai.config.validation import ValidationConfig
from orchestai.contracts.base import Record


class Sections(Record):
    """The sections that both files may hold; a target's keys win over the project's.

    Attributes:
        paths: Where files lie.
        planner: How plans are made.
        routing: Which workers may be chosen.
        engine: How a plan is executed.
        logs: How executions are logged.
        endpoint: The packaged model's local server.
        simulator: The simulated workers' local server.
        service: The HTTP service.
        registry: Where versions of the learned parts are kept.
        telemetry: What is measured and traced.
        tracking: Experiment tracking.
        validation: What is judged by the six-stage gate.
        dagster: Pools and steps.
        automation: What goes on by itself.
    """

    paths: PathsConfig = PathsConfig()
    planner: PlannerConfig = PlannerConfig()
    routing: RoutingConfig = RoutingConfig()
    engine: EngineConfig = EngineConfig()
    logs: LogsConfig = LogsConfig()
    endpoint: EndpointConfig = EndpointConfig()
    simulator: SimulatorConfig = SimulatorConfig()
    service: ServiceConfig = ServiceConfig()
    registry: RegistryConfig = RegistryConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    tracking: TrackingConfig = TrackingConfig()
    validation: ValidationConfig = ValidationConfig()
    dagster: DagsterConfig = DagsterConfig()
    automation: AutomationConfig = AutomationConfig()


class ProjectFile(Sections):
    """`project.yml`.

    Attributes:
        name: Name of the project.
        version: Version of this configuration, for people.
        profile: Profile of `profiles.yml` to use.
    """

    name: str = Field(min_length=1)
    version: str = "1.0.0"
    profile: str = Field(min_length=1)


class TargetConfig(Sections):
    """One target: what differs from `project.yml`.

    Attributes:
        description: What the target is for.
    """

    description: str = ""


class ProfileConfig(Record):
    """One profile.

    Attributes:
        target: Target that is used when none is named.
        targets: The targets by name.
    """

    target: str = "dev"
    targets: dict[str, TargetConfig] = Field(min_length=1)
