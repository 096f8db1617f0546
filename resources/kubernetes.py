"""What a step asks of Kubernetes, as the tags that Dagster's launcher and executor read."""

from typing import Any

from orchestai.config import DagsterConfig
from orchestai.config.dagster import GPU, StepKind

GPU_TAINT = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}


def step_tags(config: DagsterConfig, kind: StepKind) -> dict[str, Any]:
    """Return the op tags of a CPU or a GPU step.

    A GPU step also tolerates the taint by which clusters keep other pods off their GPU nodes.
    """
    step = config.steps[kind]
    k8s: dict[str, Any] = step.k8s_config
    if GPU in step.limits:
        k8s["pod_spec_config"] = {"tolerations": [GPU_TAINT]}
    return {**step.tags, "dagster-k8s/config": k8s}
