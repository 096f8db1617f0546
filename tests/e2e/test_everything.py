"""From logged executions to a report on a trained planner, through the jobs that the UI offers."""

import json
from collections.abc import Callable

import dagster as dg
import pytest

from orchestai.app.planning import current_checkpoint
from orchestai.config import Project
from orchestai_assets import keys
from orchestai_assets.definitions import build_definitions

pytestmark = [
    pytest.mark.e2e,
    # torch_geometric compiles a helper by a function that torch has deprecated.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
]


def run(
    defs: dg.Definitions, job: str, instance: dg.DagsterInstance, partition_key: str | None = None
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition_key, raise_on_error=False
    )


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, object]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_logs_become_a_trained_and_measured_planner(
    project: Project, instance: dg.DagsterInstance, log_executions: Callable[[int], None], today: str
) -> None:
    log_executions(45)
    defs = build_definitions(project)

    ingested = run(defs, "ingest_and_validate", instance, today)
    trained = run(defs, "train_planner", instance)

    assert ingested.success
    assert trained.success
    assert metadata(ingested, keys.EXECUTION_LOGS)["rows"] == 45
    assert metadata(trained, keys.DATASET_VALIDATION)["verdict"] == "approved"
    assert metadata(trained, keys.TRAINING_DATA)["rows"] == 45
    checkpoint = metadata(trained, keys.PHASE1_CHECKPOINT)
    assert checkpoint["epochs"] == 8
    assert str(checkpoint["loss"]).startswith("![loss by epoch](data:image/png;base64,")
    assert current_checkpoint(project) is not None
    report = json.loads((project.paths.reports / "phase1" / "report.json").read_text(encoding="utf-8"))
    assert set(report["planners"]) == {"learned", "rules", "nn_copy", "kernel_ridge"}
    assert report["planners"]["learned"]["dag_validity"] == 100
    assert report["rows"] == 45
    evaluated = metadata(trained, keys.EVALUATION_REPORT)
    assert evaluated["challenger"] == report["checkpoint"]
    assert evaluated["success_rate"] == 1.0
    assert evaluated["versions"] == 1
    assert metadata(trained, keys.PHASE1_CHECKPOINT)["ingested_executions"] == 45
    blocking = [check for check in trained.get_asset_check_evaluations() if check.blocking]
    assert len(blocking) == 7, [check.check_name for check in blocking]
    assert all(check.passed for check in blocking)
    for key in (keys.DATASET_VALIDATION, keys.TRAINING_DATA, keys.PHASE1_CHECKPOINT, keys.PHASE1_REPORT):
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.tags is not None
        assert event.asset_materialization.tags["dagster/data_version_is_user_provided"] == "true"
