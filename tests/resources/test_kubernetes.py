"""The steps' tags make Kubernetes Jobs that a strict validator accepts."""

from typing import Any

import kubernetes_validate
import pytest
from dagster_k8s.job import (
    DagsterK8sJobConfig,
    UserDefinedDagsterK8sConfig,
    construct_dagster_k8s_job,
    get_user_defined_k8s_config,
)
from kubernetes.client import ApiClient

from jobs.live_instruction import live_instruction_graph
from orchestai.config import Settings, load_project
from orchestai.config.dagster import GPU, StepKind
from resources.kubernetes import step_tags

TARGETS = ["dev", "ci", "prod"]


def job_of(tags: dict[str, Any]) -> dict[str, Any]:
    """Build the Kubernetes Job as Dagster's executor does for a step with these tags."""
    user: UserDefinedDagsterK8sConfig = get_user_defined_k8s_config(
        {name: value if isinstance(value, str) else _json(value) for name, value in tags.items()}
    )
    config = DagsterK8sJobConfig(
        job_image="orchestai:test",
        dagster_home="/opt/dagster/home",
        instance_config_map="dagster-instance",
        image_pull_policy="IfNotPresent",
    )
    job = construct_dagster_k8s_job(
        config, args=["dagster", "api", "execute_step"], job_name="step", user_defined_k8s_config=user
    )
    body: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return body


def _json(value: Any) -> str:
    import json

    return json.dumps(value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_each_step_is_a_valid_kubernetes_job(target: str, kind: StepKind) -> None:
    project = load_project(target=target, settings=Settings.from_mapping({}))

    body = job_of(step_tags(project.dagster, kind))

    kubernetes_validate.validate(body, kubernetes_validate.latest_version(), strict=True)
    resources = body["spec"]["template"]["spec"]["containers"][0]["resources"]
    wanted = project.dagster.steps[kind]
    assert resources["limits"] == wanted.limits
    assert resources["requests"] == wanted.requests


@pytest.mark.parametrize("target", TARGETS)
def test_only_the_gpu_step_asks_for_a_gpu(target: str) -> None:
    project = load_project(target=target, settings=Settings.from_mapping({}))
    pods = {kind: job_of(step_tags(project.dagster, kind))["spec"]["template"]["spec"] for kind in ("cpu", "gpu")}

    assert pods["gpu"]["containers"][0]["resources"]["limits"][GPU] == "1"
    assert {"key": GPU, "operator": "Exists", "effect": "NoSchedule"} in pods["gpu"]["tolerations"]
    assert GPU not in pods["cpu"]["containers"][0]["resources"]["limits"]
    assert "tolerations" not in pods["cpu"]


def test_the_ops_of_the_live_job_carry_the_tags_and_pools_of_the_profile() -> None:
    project = load_project(target="prod", settings=Settings.from_mapping({}))
    graph = live_instruction_graph(project, levels=1)
    ops = {node.definition.name: node.definition for node in graph.nodes}

    gpu, cpu = ops["subtask_gpu"], ops["subtask_cpu"]

    assert gpu.pool == "gpu"
    assert cpu.pool == "cpu"
    kubernetes_validate.validate(job_of(dict(gpu.tags)), kubernetes_validate.latest_version(), strict=True)
    limits = job_of(dict(gpu.tags))["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits[GPU] == "1"


def test_a_strict_validator_would_notice_a_misspelt_field() -> None:
    body = job_of({"dagster-k8s/config": {"container_config": {"resources": {}}}})
    body["spec"]["template"]["spec"]["containers"][0]["resorces"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(body, kubernetes_validate.latest_version(), strict=True)
