"""The instance files are accepted by the classes that read them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster_k8s.launcher import K8sRunLauncher

DEPLOY = Path(__file__).parents[2] / "deploy"
PROD_VARIABLES = (
    "DAGSTER_PG_HOST",
    "DAGSTER_PG_DB",
    "DAGSTER_PG_USERNAME",
    "DAGSTER_PG_PASSWORD",
    "DAGSTER_K8S_NAMESPACE",
    "DAGSTER_K8S_SERVICE_ACCOUNT",
    "DAGSTER_K8S_IMAGE",
    "DAGSTER_K8S_INSTANCE_CONFIG_MAP",
)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shutil.copy(DEPLOY / "dev" / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.get() as instance:
        yield instance


def load(target: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / target / "dagster.yaml").read_text(encoding="utf-8"))
    return content


def test_dev_keeps_its_database_in_dagster_home(dev: dg.DagsterInstance, tmp_path: Path) -> None:
    dev.add_dynamic_partitions("probe", ["a"])

    assert list(tmp_path.rglob("*.db")), "SQLite files should lie in DAGSTER_HOME"
    assert type(dev.run_coordinator).__name__ == "QueuedRunCoordinator"
    assert dev.run_launcher.supports_check_run_worker_health, "else a run that died with the daemon holds its slots"
    assert dev.event_log_storage.supports_global_concurrency_limits


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_nothing_is_sent_anywhere(target: str) -> None:
    content = load(target)

    assert content["telemetry"] == {"enabled": False}
    assert content["nux"] == {"enabled": False}


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_a_day_has_one_writer_and_pools_limit_steps(target: str) -> None:
    concurrency = load(target)["concurrency"]

    assert concurrency["runs"]["tag_concurrency_limits"] == [
        {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
        {"key": "orchestai/trains", "value": "true", "limit": 1},
    ]
    assert concurrency["pools"]["granularity"] == "op"
    assert concurrency["pools"]["default_limit"] == 1


def test_the_scaffold_writes_the_same_instance_file() -> None:
    scaffold = DEPLOY.parent / "orchestai" / "app" / "dagster.yaml"

    assert scaffold.read_bytes() == (DEPLOY / "dev" / "dagster.yaml").read_bytes()


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_a_killed_run_gives_its_slots_back_and_one_training_runs(target: str) -> None:
    content = load(target)

    assert content["run_monitoring"]["enabled"] is True
    assert content["run_monitoring"]["free_slots_after_run_end_seconds"] > 0


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_refused_runs_are_not_tried_again(target: str) -> None:
    retries = load(target)["run_retries"]

    assert retries["enabled"] is True
    assert retries["retry_on_asset_or_op_failure"] is False


def test_prod_is_valid_for_every_class_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROD_VARIABLES:
        monkeypatch.setenv(name, "given")
    shutil.copy(DEPLOY / "prod" / "dagster.yaml", tmp_path)

    reference = InstanceRef.from_dir(str(tmp_path))

    assert reference.run_storage_data.class_name == "PostgresRunStorage"
    launcher = reference.run_launcher_data
    assert launcher is not None
    assert launcher.class_name == "K8sRunLauncher"
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), launcher.config_dict)
    assert checked.success, [error.message for error in checked.errors or []]


def test_prod_takes_every_secret_from_the_environment() -> None:
    postgres = load("prod")["storage"]["postgres"]["postgres_db"]

    for field in ("hostname", "db_name", "username", "password"):
        assert list(postgres[field]) == ["env"], field
