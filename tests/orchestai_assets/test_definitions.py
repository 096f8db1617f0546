"""What Dagster shows is pinned, light to load and found under one name."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from orchestai.config import Project, Settings, load_project
from orchestai.errors import InputError
from orchestai_assets.definitions import build_definitions

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("definitions.json")

HEAVY = (
    "torch",
    "transformers",
    "torch_geometric",
    "great_expectations",
    "mlflow",
    "wandb",
    "pandas",
    "pyarrow",
    "sklearn",
    "scipy",
    "matplotlib",
    "openai",
)


def describe(defs: dg.Definitions) -> dict[str, Any]:
    """Say in JSON what a code location offers."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            key.to_user_string(): {
                "group": node.group_name,
                "kinds": sorted(node.kinds),
                "owners": list(node.owners),
                "code_version": node.code_version,
                "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
                "partitioned": type(node.partitions_def).__name__ if node.partitions_def else None,
                "pools": sorted(node.pools or ()),
                "automated": node.automation_condition is not None,
                "described": bool(node.description),
            }
            for key, node in sorted(
                ((key, graph.get(key)) for key in graph.get_all_asset_keys()), key=lambda item: item[0]
            )
        },
        "checks": {
            f"{key.asset_key.to_user_string()}:{key.name}": {"blocking": graph.get_check_spec(key).blocking}
            for key in sorted(graph.asset_check_keys, key=lambda key: (key.asset_key, key.name))
        },
        "jobs": {
            job.name: {
                "steps": len(job.graph.node_dict),
                "pools": sorted({pool for node in job.all_node_defs for pool in getattr(node, "pools", ())}),
            }
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: {
                "cron": schedule.cron_schedule,
                "job": schedule.job_name,
                "zone": schedule.execution_timezone,
            }
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: {"type": sensor.sensor_type.value, "status": sensor.default_status.value}
            for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
        },
        "resources": sorted(repository.get_top_level_resources()),
    }


def test_the_definitions_are_those_of_the_snapshot(project: Project) -> None:
    found = describe(build_definitions(project))

    wanted = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert found == wanted, f"If this is meant, write the new state to {SNAPSHOT.name}:\n{json.dumps(found, indent=2)}"


def test_everything_can_be_loaded(project: Project) -> None:
    dg.Definitions.validate_loadable(build_definitions(project))


def test_every_asset_is_described_grouped_owned_and_versioned(project: Project) -> None:
    for name, asset in describe(build_definitions(project))["assets"].items():
        assert asset["described"], name
        assert asset["group"] != "default", name
        assert asset["kinds"], name
        assert asset["owners"], name
        assert asset["code_version"], name


def test_loading_the_definitions_loads_nothing_heavy() -> None:
    code = (
        f"import sys, orchestai_assets.definitions\nprint(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_workspace_and_pyproject_name_the_same_location() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dagster"]

    (entry,) = workspace["load_from"]
    module = entry["python_module"]
    assert module == {"module_name": tool["module_name"], "location_name": tool["code_location_name"]}


def test_the_way_in_stays_small() -> None:
    lines = (ROOT / "orchestai_assets" / "definitions.py").read_text(encoding="utf-8").splitlines()

    assert len(lines) < 60


def test_configuration_decides_cron_pools_partitions_and_gpu_workers(project: Project) -> None:
    changes = {
        "nightly_retraining": "30 4 * * 1",
        "start_date": "2026-03-01",
        "steps": {"cpu": {"pool": "small"}, "gpu": {"pool": "large", "limits": {"nvidia.com/gpu": 2}}},
    }
    dagster = type(project.dagster).model_validate({**project.dagster.model_dump(), **changes})
    found = describe(build_definitions(project.model_copy(update={"dagster": dagster})))

    assert found["schedules"]["nightly_retraining"]["cron"] == "30 4 * * 1"
    assert found["assets"]["phase1_checkpoint"]["pools"] == ["large"]
    assert found["jobs"]["live_instruction"]["pools"] == ["large", "small"]


def test_phase_2_joins_each_training_where_it_is_asked_for(project: Project) -> None:
    retrain = project.automation.retrain.model_copy(update={"phase2": True})
    automation = project.automation.model_copy(update={"retrain": retrain})
    changed = project.model_copy(update={"automation": automation})

    def steps(of: Project) -> set[str]:
        return set(build_definitions(of).resolve_job_def("train_planner").graph.node_dict)

    assert {name for name in steps(changed) - steps(project) if "check" not in name} >= {"phase2_report"}
    assert "phase2_checkpoint" in steps(changed)
    assert "phase2_checkpoint" not in steps(project)


def test_an_unknown_gpu_worker_is_named(project: Project) -> None:
    dagster = project.dagster.model_copy(update={"gpu_workers": ("nobody",)})

    with pytest.raises(InputError, match="Unknown worker 'nobody'"):
        build_definitions(project.model_copy(update={"dagster": dagster}))


def test_on_kubernetes_each_step_gets_a_pod_of_its_own() -> None:
    project = load_project(target="prod", settings=Settings.from_mapping({}))
    job = build_definitions(project).resolve_job_def("live_instruction")

    assert job.executor_def.name == "k8s"
