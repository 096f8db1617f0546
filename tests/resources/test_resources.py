"""What the objects of Dagster share."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from orchestai.config import DagsterConfig, Project, load_project
from orchestai.contracts import Instruction
from resources.executors import executor_for
from resources.orchestai_resource import OrchestAIResource
from resources.pools import apply_pool_limits
from resources.step_files import JsonFiles
from resources.wandb_resource import WandbResource


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORCHESTAI_TARGET", "ci")
    return load_project()


def test_the_resource_gives_the_project_of_the_environment_or_of_its_fields(project: Project) -> None:
    found = OrchestAIResource().project
    assert (found.target, found.home) == ("ci", project.home)
    assert OrchestAIResource(target="dev").project.target == "dev"
    resource = OrchestAIResource()
    assert resource.project is resource.project, "the configuration is read once"


def test_the_runtime_plans_executes_and_logs(project: Project) -> None:
    with OrchestAIResource(mock=True).runtime() as runtime:
        execution = runtime.execute(Instruction(text="Summarise this text."))

    assert execution.result.completed
    assert execution.result.simulated
    assert len(list(project.paths.execution_logs.glob("*/*.jsonl"))) == 1


def test_a_runtime_without_log_writes_none(project: Project) -> None:
    with OrchestAIResource(mock=True).runtime(log=False, learned=False) as runtime:
        runtime.execute(Instruction(text="Summarise this text."))

    assert not project.paths.execution_logs.exists()


def test_values_travel_between_steps_as_json_and_by_mapping_key(tmp_path: Path) -> None:
    @dg.op(out=dg.DynamicOut(io_manager_key="step_files"))
    def numbers() -> Any:
        for number in (1, 2):
            yield dg.DynamicOutput({"n": number, "text": "é"}, mapping_key=f"k{number}")

    @dg.op(out=dg.Out(io_manager_key="step_files"))
    def double(value: dict[str, Any]) -> int:
        return int(value["n"]) * 2

    @dg.op(out=dg.Out(io_manager_key="step_files"))
    def total(values: list[int]) -> int:
        return sum(values)

    @dg.job(resource_defs={"step_files": JsonFiles(directory=str(tmp_path))})
    def job() -> None:
        total(numbers().map(double).collect())

    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)

    assert result.output_for_node("total") == 6
    files = {path.relative_to(tmp_path / result.run_id).as_posix() for path in tmp_path.rglob("*.*")}
    assert files == {
        "numbers/result/k1.json",
        "numbers/result/k2.json",
        "double-k1/result.json",
        "double-k2/result.json",
        "total/result.json",
    }


def test_pool_limits_of_the_profile_are_put_in_force(tmp_path: Path) -> None:
    quiet = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=quiet) as instance:
        assert apply_pool_limits(instance, DagsterConfig(pools={"cpu": 3, "gpu": 1})) == {"cpu": 3, "gpu": 1}
        assert apply_pool_limits(instance, DagsterConfig(pools={"cpu": 5, "gpu": 2})) == {"cpu": 5, "gpu": 2}

        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 2


@pytest.mark.parametrize(
    ("executor", "cuda", "name"),
    [
        ("in_process", False, "in_process"),
        ("multiprocess", False, "multiprocess"),
        ("multiprocess", True, "multiprocess"),
        ("k8s", True, "k8s"),
    ],
)
def test_the_configuration_names_the_executor(executor: Any, cuda: bool, name: str) -> None:
    assert executor_for(DagsterConfig(executor=executor), cuda=cuda).name == name


@pytest.mark.parametrize(("cuda", "method"), [(False, "forkserver"), (True, "spawn")])
def test_steps_that_may_use_cuda_are_spawned(cuda: bool, method: str) -> None:
    executor = executor_for(DagsterConfig(executor="multiprocess"), cuda=cuda)

    checked = executor.apply_config_mapping({"config": {}})

    assert checked.success
    assert list(checked.value["config"]["start_method"]) == [method]


def test_fields_of_the_wandb_resource_win_over_the_project(project: Project) -> None:
    assert WandbResource().tracking(project).wandb_mode == "disabled"  # the target is ci
    assert WandbResource(mode="offline").tracking(project).wandb_mode == "offline"
    assert WandbResource(tracking_project="mine").tracking(project).wandb_project == "mine"
    with pytest.raises(ValidationError, match="wandb_mode"):
        WandbResource(mode="sometimes").tracking(project)


def test_a_training_that_is_not_tracked_leaves_no_path(project: Project) -> None:
    resource = WandbResource()
    with resource.tracker(project, name="phase1", run_id="r", settings={}) as tracker:
        tracker.log({"loss": 1.0}, step=1)

    assert resource.tracked_path(project, "r") is None


@pytest.mark.slow
def test_an_offline_training_is_found_for_sync(project: Project) -> None:
    resource = WandbResource(mode="offline")
    with resource.tracker(project, name="phase1", run_id="r", settings={"epochs": 1}) as tracker:
        assert tracker.active
        tracker.log({"loss": 1.0}, step=1)

    path = resource.tracked_path(project, "r")
    assert path is not None
    assert path.name.startswith("offline-run-")
    assert path.parent == project.home / "wandb" / "r" / "wandb"
