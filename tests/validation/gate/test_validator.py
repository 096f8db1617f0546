from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.errors import ConfigError, DataError
from orchestai.validation import DatasetValidator, GateSettings
from orchestai.validation.profile import ReferenceProfile


@pytest.fixture
def gate(settings: GateSettings) -> DatasetValidator:
    return DatasetValidator(settings=settings)


def spoiled(rows: pd.DataFrame) -> pd.DataFrame:
    """Append 500 copies to 1,000 rows."""
    return pd.concat([rows.head(1_000), rows.head(500)], ignore_index=True)


async def test_three_lines(tmp_path: Path, draw_reference: pd.DataFrame, settings: GateSettings) -> None:
    path = tmp_path / "data.parquet"
    draw_reference.to_parquet(path)
    result = await DatasetValidator(settings=settings).validate(path, "parquet")
    assert result.approved_for_training
    assert result.reference == "none"
    # Nothing is claimed about what cannot be known without a reference.
    assert result.dimensions["mode_collapse"].score is None
    assert result.dimensions["memorization"].score is None
    assert "not measurable" in result.reason
    assert result.label == "label"
    assert set(result.stage_seconds) == {"load", "diversity", "cascade", "collapse", "localize", "recommend"}


def test_repeated_rows_are_named_and_their_removal_gains_what_was_promised(
    gate: DatasetValidator, profile: ReferenceProfile, fresh: pd.DataFrame
) -> None:
    table = spoiled(fresh)
    result = gate.validate_sync(table, reference=profile)
    assert set(result.problematic_rows[:500]) == set(range(1_000, 1_500))
    fix = next(each for each in result.recommendations if each.action == "drop_repeated")
    assert fix.measured
    truth = gate.validate_sync(table.drop(index=list(range(1_000, 1_500))), reference=profile)
    assert fix.projected_score == pytest.approx(truth.collapse_score, abs=3)


def test_flipped_labels_are_named(gate: DatasetValidator, fresh: pd.DataFrame) -> None:
    wrong = np.zeros(len(fresh), bool)
    wrong[::10] = True
    table = fresh.assign(label=np.where(wrong ^ (fresh["label"] == "yes"), "yes", "no"))
    scores = gate.row_scores(table, label="label").strength["label"]
    assert scores[wrong].mean() > scores[~wrong].mean() + 0.4


def test_a_failing_stage_keeps_what_the_others_found(
    gate: DatasetValidator, profile: ReferenceProfile, fresh: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise ValueError("the disk of the localiser is on fire")

    monkeypatch.setattr("orchestai.validation.validator.score_rows", broken)
    result = gate.validate_sync(fresh, reference=profile)
    assert result.partial
    assert not result.approved_for_training
    assert result.errors[0].stage == "localize"
    assert "on fire" in result.errors[0].message
    assert result.collapse_score is not None
    assert result.collapse_score > 90


def test_rows_in_order_of_time_are_compared_with_earlier_ones(gate: DatasetValidator, fresh: pd.DataFrame) -> None:
    drifting = fresh.assign(c=fresh["c"] + np.linspace(0, 10 * fresh["c"].std(), len(fresh)))
    result = gate.validate_sync(drifting, order="time", label="label")
    assert result.reference == "blocks"
    assert result.verdict == "rejected"
    assert result.rows == 750
    assert min(result.problematic_rows, default=750) >= 750


def test_results_are_cached_by_content(tmp_path: Path, fresh: pd.DataFrame, settings: GateSettings) -> None:
    gate = DatasetValidator(settings=settings, cache_folder=tmp_path)
    first = gate.validate_sync(fresh)
    again = DatasetValidator(settings=settings, cache_folder=tmp_path).validate_sync(fresh.copy())
    assert not first.from_cache
    assert again.from_cache
    assert again.collapse_score == first.collapse_score
    changed = fresh.copy()
    changed.loc[0, "a"] += 1
    assert not gate.validate_sync(changed).from_cache
    stricter = DatasetValidator(99, settings=settings, cache_folder=tmp_path)
    assert not stricter.validate_sync(fresh).from_cache


def test_reports(tmp_path: Path, gate: DatasetValidator, fresh: pd.DataFrame) -> None:
    result = gate.validate_sync(spoiled(fresh).rename(columns={"a": "<script>alert(1)</script>"}))
    result.save_report(tmp_path / "report.json")
    result.save_report(tmp_path / "report.html")
    assert json.loads((tmp_path / "report.json").read_text())["collapse_score"] == result.collapse_score
    page = (tmp_path / "report.html").read_text()
    assert "pattern repetition" in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pd.DataFrame({"a": []}), "no rows"),
        (pa.table({}), "no rows"),
        ("/nowhere/at/all.parquet", "no table"),
        (42, "int is no table"),
    ],
)
def test_no_table_is_an_error_that_says_so(gate: DatasetValidator, data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        gate.validate_sync(data)


def test_damaged_parquet(tmp_path: Path, gate: DatasetValidator, fresh: pd.DataFrame) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_pandas(fresh), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cannot be read|truncated|footer|damaged|has no end"):
        gate.validate_sync(path)


EDGES: dict[str, Any] = {
    "one row": pd.DataFrame({"a": [1.0], "b": ["x"]}),
    "one column": pd.DataFrame({"a": np.arange(100.0) ** 1.5}),
    "all null": pd.DataFrame({"a": [None] * 60, "b": [np.nan] * 60}),
    "constant": pd.DataFrame({"a": [3] * 60, "b": ["x"] * 60}),
    "mixed types": pd.DataFrame({"a": [1, "two", 3.5, None] * 30, "b": range(120)}),
    "infinities": pd.DataFrame({"a": [np.inf, -np.inf, 1.5, 2.5] * 30, "b": np.arange(120.0) ** 1.5}),
    "1e308": pd.DataFrame({"a": np.linspace(-1, 1, 120) * 1e308, "b": np.arange(120.0) ** 1.5}),
    "before 1970": pd.DataFrame({"a": pd.date_range("1850-01-01", periods=120, freq="37D"), "b": range(120)}),
    "nested": pa.table({"a": [[1, 2], [], None] * 30, "b": [{"x": 1}, {"x": 2}, None] * 30}),
    "same names": pa.Table.from_arrays([pa.array(range(60)), pa.array(["x", "y"] * 30)], names=["a", "a"]),
    "more columns than rows": pd.DataFrame(np.random.default_rng(0).standard_normal((40, 300))).add_prefix("c"),
}


@pytest.mark.parametrize("name", EDGES)
def test_odd_tables_give_results_and_no_crash(gate: DatasetValidator, name: str) -> None:
    result = gate.validate_sync(EDGES[name])
    assert not result.partial, result.errors
    assert result.rows > 0
    for found in result.dimensions.values():
        assert (found.score is None) == (found.status == "not_measurable")


def test_infinities_are_told(gate: DatasetValidator) -> None:
    found = gate.validate_sync(EDGES["infinities"]).dimensions["quality_degradation"]
    assert found.score is not None
    assert found.score < 80


def test_an_all_null_table_is_rejected(gate: DatasetValidator) -> None:
    assert not gate.validate_sync(EDGES["all null"]).approved_for_training


def test_a_missing_column_is_told_and_rejected(
    gate: DatasetValidator, profile: ReferenceProfile, fresh: pd.DataFrame
) -> None:
    result = gate.validate_sync(fresh.drop(columns="kind").assign(new=1), reference=profile)
    assert any("missing: kind" in note for note in result.warnings)
    assert any("new" in note for note in result.warnings)
    assert result.verdict == "rejected"
    with pytest.raises(DataError, match="no column of the reference"):
        gate.validate_sync(pd.DataFrame({"z": range(50)}), reference=profile)


def test_settings_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "gate.yml"
    path.write_text("collapse_threshold: 80\ncritical_dimensions: [memorization]\n")
    assert GateSettings.from_file(path).critical_dimensions == ("memorization",)
    path.write_text("collapse_treshold: 80\nseed: x\n")
    with pytest.raises(ConfigError) as caught:
        GateSettings.from_file(path)
    assert {problem.key for problem in caught.value.problems} == {"collapse_treshold", "seed"}
    with pytest.raises(ValueError, match="gpu_memory_fraction"):
        DatasetValidator(gpu_memory_fraction=2)
