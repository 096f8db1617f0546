"""The configuration: one model a YAML kind, one loader that reports all problems at once.

`Settings` is the only reader of the environment.
"""

from __future__ import annotations

from orchestai.config.arms import ArmsConfig, RetrieverConfig, SandboxConfig, ScoringConfig
from orchestai.config.automation import AlertsConfig, AutomationConfig, DriftConfig, RetrainConfig
from orchestai.config.dagster import DagsterConfig, StepConfig
from orchestai.config.describe import describe
from orchestai.config.expectations import Expectation, ExpectationSuite
from orchestai.config.loader import load_project, packaged_directory
from orchestai.config.paths import PathsConfig
from orchestai.config.planning import PlannerConfig, RoutingConfig
from orchestai.config.project import Project
from orchestai.config.promotion import (
    CanaryConfig,
    GatesConfig,
    HarmConfig,
    HeldoutConfig,
    PromotionConfig,
    StageConfig,
)
from orchestai.config.prompts import PromptTemplate
from orchestai.config.recipe import read_phase1, read_phase2, write_phase1
from orchestai.config.reflex import ReflexConfig
from orchestai.config.registry import RegistryConfig
from orchestai.config.runtime import (
    AnomalyConfig,
    ApprovalConfig,
    BreakerConfig,
    EndpointConfig,
    EngineConfig,
    LimitsConfig,
    LogsConfig,
    SimulatorConfig,
)
from orchestai.config.schemas import write_schemas
from orchestai.config.service import ALL_SCOPES, Scope, ServiceConfig, TokenConfig
from orchestai.config.settings import Settings
from orchestai.config.sources import FreshnessConfig, SourceConfig
from orchestai.config.telemetry import TelemetryConfig, TracingConfig
from orchestai.config.tracking import TrackingConfig
from orchestai.config.training import (
    Phase1Config,
    Phase2Config,
    RewardConfig,
    SplitConfig,
    SyntheticConfig,
    TrainingConfig,
    TrainingDataConfig,
)
from orchestai.config.validation import InboxConfig, LogGateConfig, ValidationConfig

__all__ = [
    "ALL_SCOPES",
    "AlertsConfig",
    "AnomalyConfig",
    "ApprovalConfig",
    "ArmsConfig",
    "AutomationConfig",
    "BreakerConfig",
    "CanaryConfig",
    "DagsterConfig",
    "DriftConfig",
    "EndpointConfig",
    "EngineConfig",
    "Expectation",
    "ExpectationSuite",
    "FreshnessConfig",
    "GatesConfig",
    "HarmConfig",
    "HeldoutConfig",
    "InboxConfig",
    "LimitsConfig",
    "LogGateConfig",
    "LogsConfig",
    "PathsConfig",
    "Phase1Config",
    "Phase2Config",
    "PlannerConfig",
    "Project",
    "PromotionConfig",
    "PromptTemplate",
    "ReflexConfig",
    "RegistryConfig",
    "RetrainConfig",
    "RetrieverConfig",
    "RewardConfig",
    "RoutingConfig",
    "SandboxConfig",
    "Scope",
    "ScoringConfig",
    "ServiceConfig",
    "Settings",
    "SimulatorConfig",
    "SourceConfig",
    "SplitConfig",
    "StageConfig",
    "StepConfig",
    "SyntheticConfig",
    "TelemetryConfig",
    "TokenConfig",
    "TracingConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TrainingDataConfig",
    "ValidationConfig",
    "describe",
    "load_project",
    "packaged_directory",
    "read_phase1",
    "read_phase2",
    "write_phase1",
    "write_schemas",
]
