"""The configuration: one model a YAML kind, one loader that reports all problems at once.

`Settings` is the only reader of the environment.
"""

from __future__ import annotations

from orchestai.config.dagster import DagsterConfig, StepConfig
from orchestai.config.describe import describe
from orchestai.config.expectations import Expectation, ExpectationSuite
from orchestai.config.loader import load_project, packaged_directory
from orchestai.config.paths import PathsConfig
from orchestai.config.planning import PlannerConfig, RoutingConfig
from orchestai.config.project import Project
from orchestai.config.prompts import PromptTemplate
from orchestai.config.runtime import ApprovalConfig, EndpointConfig, EngineConfig, LogsConfig, SimulatorConfig
from orchestai.config.schemas import write_schemas
from orchestai.config.settings import Settings
from orchestai.config.sources import FreshnessConfig, SourceConfig
from orchestai.config.tracking import TrackingConfig
from orchestai.config.training import (
    Phase1Config,
    RewardConfig,
    SplitConfig,
    TrainingConfig,
    TrainingDataConfig,
)

__all__ = [
    "ApprovalConfig",
    "DagsterConfig",
    "EndpointConfig",
    "EngineConfig",
    "Expectation",
    "ExpectationSuite",
    "FreshnessConfig",
    "LogsConfig",
    "PathsConfig",
    "Phase1Config",
    "PlannerConfig",
    "Project",
    "PromptTemplate",
    "RewardConfig",
    "RoutingConfig",
    "Settings",
    "SimulatorConfig",
    "SourceConfig",
    "SplitConfig",
    "StepConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TrainingDataConfig",
    "describe",
    "load_project",
    "packaged_directory",
    "write_schemas",
]
