"""The whole configuration, checked and resolved: what all other packages are given."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from orchestai.config.arms import ArmsConfig
from orchestai.config.automation import AutomationConfig
from orchestai.config.dagster import DagsterConfig
from orchestai.config.expectations import ExpectationSuite
from orchestai.config.paths import PathsConfig
from orchestai.config.planning import PlannerConfig, RoutingConfig
from orchestai.config.promotion import PromotionConfig
from orchestai.config.prompts import PromptTemplate
from orchestai.config.reflex import ReflexConfig
from orchestai.config.registry import RegistryConfig
from orchestai.config.runtime import EndpointConfig, EngineConfig, LogsConfig, SimulatorConfig
from orchestai.config.service import ServiceConfig
from orchestai.config.settings import Settings
from orchestai.config.sources import SourceConfig
from orchestai.config.telemetry import TelemetryConfig
from orchestai.config.tracking import TrackingConfig
from orchestai.config.training import RewardConfig, TrainingConfig
from orchestai.config.validation import ValidationConfig
from orchestai.contracts import TaskCatalog, WorkerCatalog
from orchestai.contracts.base import Record


class Project(Record):
    """A configuration at one target.

    Attributes:
        name: Name of the project.
        version: Version of the configuration, for people.
        target: Target in use.
        directory: Folder that it was read from.
        home: Folder of all state; absolute.
        settings: What the environment says; never written out with the project.
        paths: Where files lie; absolute.
        tasks: Task types, in order.
        workers: Workers, in order.
        planner: How plans are made.
        routing: Which workers may be chosen.
        engine: How a plan is executed.
        logs: How executions are logged.
        reflex: What is answered, refused or cleaned before planning.
        endpoint: The packaged model's local server.
        simulator: The simulated workers' local server.
        service: The HTTP service.
        training: Training data and recipe.
        rewards: Reward weights by name.
        promotion: Gates and canary by name; `registry.policy` says which hold.
        registry: Where versions of the learned parts are kept.
        prompts: Templates, in order.
        expectations: Suites by table.
        sources: Sources by name.
        tracking: Experiment tracking.
        telemetry: What is measured and traced.
        validation: What is judged by the six-stage gate; all paths absolute.
        dagster: Pools and steps.
        automation: What goes on by itself.
        arms: The sandbox's limits, scoring of arms, repairs.
    """

    name: str
    version: str
    target: str
    directory: Path
    home: Path
    settings: Settings = Field(exclude=True, repr=False)
    paths: PathsConfig
    tasks: TaskCatalog
    workers: WorkerCatalog
    planner: PlannerConfig
    routing: RoutingConfig
    engine: EngineConfig
    logs: LogsConfig
    reflex: ReflexConfig = ReflexConfig()
    endpoint: EndpointConfig
    simulator: SimulatorConfig
    service: ServiceConfig = ServiceConfig()
    training: TrainingConfig
    rewards: dict[str, RewardConfig]
    promotion: dict[str, PromotionConfig] = Field(default_factory=lambda: {"default": PromotionConfig()})
    registry: RegistryConfig = RegistryConfig()
    prompts: tuple[PromptTemplate, ...]
    expectations: dict[str, ExpectationSuite]
    sources: dict[str, SourceConfig]
    tracking: TrackingConfig
    telemetry: TelemetryConfig = TelemetryConfig()
    validation: ValidationConfig = ValidationConfig()
    dagster: DagsterConfig
    automation: AutomationConfig = AutomationConfig()
    arms: ArmsConfig = ArmsConfig()
