"""The gate in front of any asset: what is refused stops what is downstream, a warning does not."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from orchestai_assets.validation import dataset_check, dataset_validation_asset, metadata_path

SMALL = {"sample_rows": 400, "null_draws": 40, "bootstrap_draws": 10, "cascade_rows": 400}


def draw(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(rows)
    return pd.DataFrame(
        {
            "a": a,
            "b": a + rng.standard_normal(rows),
            "c": rng.gamma(2.0, size=rows),
            "label": np.where(a + rng.standard_normal(rows) > 0, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "healthy.parquet"
    draw(800, 1).to_parquet(path)
    return path


def pipeline(table: pd.DataFrame, *guards: Any, partitions: Any = None) -> dg.Definitions:
    @dg.asset(partitions_def=partitions)
    def customers() -> pd.DataFrame:
        return table

    @dg.asset(partitions_def=partitions)
    def model(customers: pd.DataFrame) -> int:
        return len(customers)

    checks = [guard for guard in guards if isinstance(guard, dg.AssetChecksDefinition)]
    assets = [guard for guard in guards if not isinstance(guard, dg.AssetChecksDefinition)]
    return dg.Definitions(
        assets=[customers, model, *assets],
        asset_checks=checks,
        jobs=[dg.define_asset_job("everything", dg.AssetSelection.all())],
    )


def run(defs: dg.Definitions, instance: dg.DagsterInstance, day: str | None = None) -> dg.ExecuteInProcessResult:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return defs.resolve_job_def("everything").execute_in_process(
        instance=instance, run_config=quiet, raise_on_error=False, partition_key=day
    )


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def test_a_healthy_asset_passes_and_shows_what_was_measured(
    instance: dg.DagsterInstance, reference: Path, tmp_path: Path
) -> None:
    guard = dataset_check("customers", reference=reference, label="label", config=SMALL, reports=tmp_path)
    result = run(pipeline(draw(700, 2), guard), instance)

    assert result.success
    assert made(result) == {"customers", "model"}
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(found) == {"fit_to_train_on", "fit_to_train_on_warnings"}
    verdict = found["fit_to_train_on"]
    assert verdict.passed
    assert verdict.blocking
    assert len(verdict.metadata["dimensions"].records) == 8  # type: ignore[union-attr]
    assert "base64" in str(verdict.metadata["scores"].value)
    page = Path(str(verdict.metadata["report"].value))
    assert page == tmp_path / "customers.html"
    assert "fit" in page.read_text() or "training" in page.read_text()
    assert page.with_suffix(".json").exists()


def test_a_collapsed_asset_stops_what_is_downstream(
    instance: dg.DagsterInstance, reference: Path, tmp_path: Path
) -> None:
    collapsed = draw(700, 2).iloc[np.arange(700) % 20].reset_index(drop=True)
    guard = dataset_check("customers", reference=reference, label="label", config=SMALL, reports=tmp_path)
    result = run(pipeline(collapsed, guard), instance)

    assert not result.success
    assert made(result) == {"customers"}
    (verdict,) = (check for check in result.get_asset_check_evaluations() if check.blocking)
    assert not verdict.passed
    assert verdict.severity is dg.AssetCheckSeverity.ERROR
    assert "pattern_repetition" in str(verdict.description)
    assert int(verdict.metadata["problem_row_count"].value) >= 600  # type: ignore[call-overload]
    failed = [event.step_key for event in result.all_events if event.is_step_failure]
    assert failed == ["customers__fit_to_train_on"]


def test_a_warning_does_not_stop_anything(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    some = pd.concat([draw(600, 2), draw(600, 2).head(60)], ignore_index=True)
    guard = dataset_check("customers", config=SMALL, reports=tmp_path)
    result = run(pipeline(some, guard), instance)

    assert result.success
    assert "model" in made(result)
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert found["fit_to_train_on"].passed
    assert not found["fit_to_train_on_warnings"].passed
    assert found["fit_to_train_on_warnings"].severity is dg.AssetCheckSeverity.WARN
    assert not found["fit_to_train_on_warnings"].blocking


@pytest.mark.slow
def test_the_reference_may_be_an_asset_and_the_data_a_file_that_the_asset_names(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    path = tmp_path / "written.csv"

    @dg.asset
    def healthy() -> pd.DataFrame:
        return draw(800, 1)

    @dg.asset
    def written() -> dg.MaterializeResult[None]:
        draw(700, 3).assign(a=0.0).to_csv(path, index=False)
        return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(path)})

    guard = dataset_check(
        written, data=metadata_path(), reference=dg.AssetKey("healthy"), config=SMALL, reports=tmp_path
    )
    defs = dg.Definitions(
        assets=[healthy, written], asset_checks=[guard], jobs=[dg.define_asset_job("everything", "*")]
    )
    result = run(defs, instance)

    (verdict,) = (check for check in result.get_asset_check_evaluations() if check.blocking)
    assert not verdict.passed
    assert not result.success


@pytest.mark.slow
def test_the_verdict_as_an_asset_of_its_own_by_partition(
    instance: dg.DagsterInstance, reference: Path, tmp_path: Path
) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["monday"]))
    def customers() -> pd.DataFrame:
        return draw(700, 2)

    guard = dataset_validation_asset(customers, reference=reference, config=SMALL, reports=tmp_path)
    defs = dg.Definitions(assets=[customers, guard], jobs=[dg.define_asset_job("everything", "*")])
    result = run(defs, instance, "monday")

    assert result.success
    assert made(result) == {"customers", "customers_validation"}
    (event,) = (
        e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey("customers_validation")
    )
    assert event.materialization.metadata["verdict"].value in ("approved", "warn")


def test_two_references_are_refused() -> None:
    with pytest.raises(ValueError, match="both name a reference"):
        dataset_check("customers", reference="healthy.parquet", time_ordered=True)
