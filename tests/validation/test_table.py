from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestai.config import ExpectationSuite
from orchestai.errors import DataError
from orchestai.validation import Gate, ValidationReport, ValidationThresholds, read_table, validate_table

GOOD = {
    "id": ["a", "b", "c", "d"],
    "instruction": ["one", "two", "three", "four"],
    "task_types": [["extract"], ["extract", "translate"], ["summarize"], ["translate"]],
    "dependencies": [[[]], [[], [0]], [[]], [[]]],
    "workers": [["small"], ["large", "small"], ["large"], ["small"]],
    "cost": [0.1, 0.2, 0.3, 0.4],
    "split": ["train", "train", "validation", "test"],
}
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("instruction", pa.string()),
        pa.field("task_types", pa.list_(pa.string())),
        pa.field("dependencies", pa.list_(pa.list_(pa.int32()))),
        pa.field("workers", pa.list_(pa.string())),
        pa.field("cost", pa.float64()),
        pa.field("split", pa.string()),
    ]
)


def table(**changes: Any) -> pa.Table:
    return pa.Table.from_pydict({**GOOD, **changes}, schema=SCHEMA)


def suite(*rules: dict[str, Any]) -> ExpectationSuite:
    return ExpectationSuite.model_validate({"table": "plans", "expectations": rules})


ALL_RULES = (
    {"type": "row_count", "kwargs": {"min": 1, "max": 10}},
    {"type": "not_null", "column": "id"},
    {"type": "unique", "column": "id"},
    {"type": "accepted_values", "column": "split", "kwargs": {"values": ["train", "validation", "test"]}},
    {"type": "between", "column": "cost", "kwargs": {"min": 0, "max": 1}},
    {"type": "matches", "column": "instruction", "kwargs": {"regex": r"\S"}},
    {"type": "length_between", "column": "instruction", "kwargs": {"min": 1, "max": 20}},
    {"type": "column_exists", "column": "workers"},
    {"type": "not_null", "column": "task_types"},
)
SUITE = suite(*ALL_RULES)


def gate(report: ValidationReport, name: str) -> Gate:
    (found,) = (item for item in report.gates if item.name == name)
    return found


def test_fit_table_is_approved():
    report = validate_table(table(), SUITE, schema=SCHEMA)
    assert [item.name for item in report.gates if not item.passed] == []
    assert (report.approved, report.verdict, report.rows) == (True, "approved", 4)
    assert [item.name for item in report.gates] == [
        "schema",
        "rows",
        "row_count",
        "id: not_null",
        "id: unique",
        "split: accepted_values",
        "cost: between",
        "instruction: matches",
        "instruction: length_between",
        "workers: column_exists",
        "task_types: not_null",
        "duplicates",
        "task_types: most frequent",
        "task_types: entropy",
        "workers: most frequent",
        "workers: entropy",
    ]


@pytest.mark.parametrize(
    ("change", "name", "observed"),
    [
        ({"id": ["a", "b", "b", "d"]}, "id: unique", "2 of 4 rows break it, such as 'b'"),
        ({"id": ["a", None, "c", "d"]}, "id: not_null", "1 of 4 rows break it, such as nan"),
        (
            {"split": ["train", "dev", "test", "test"]},
            "split: accepted_values",
            "1 of 4 rows break it, such as 'dev'",
        ),
        ({"cost": [0.1, -0.5, 0.3, 0.4]}, "cost: between", "1 of 4 rows break it, such as -0.5"),
        (
            {"instruction": ["one", "two", " ", "four"]},
            "instruction: matches",
            "1 of 4 rows break it, such as ' '",
        ),
        ({"instruction": ["one", "", "x" * 21, "4"]}, "instruction: length_between", "2 of 4 rows break it"),
        (
            {"task_types": [None, ["extract"], ["summarize"], ["translate"]]},
            "task_types: not_null",
            "1 of 4 rows break it, such as None",
        ),
    ],
)
def test_each_rule_can_refuse(change, name, observed):
    loose = pa.schema([field.with_nullable(True) for field in SCHEMA])
    changed = pa.Table.from_pydict({**GOOD, **change}, schema=loose)
    report = validate_table(changed, SUITE)
    found = gate(report, name)
    assert found.observed.startswith(observed)
    assert not found.passed
    assert found.remedy
    assert report.verdict == "refused"
    assert found in report.refusals


def test_rules_on_lists_compare_whole_lists():
    report = validate_table(
        table(task_types=[["a", "b"], ["a"], ["a", "b"], ["b"]]),
        suite({"type": "unique", "column": "task_types"}),
    )
    assert gate(report, "task_types: unique").observed.startswith("2 of 4 rows break it, such as ('a', 'b')")


def test_row_count_out_of_range():
    report = validate_table(table(), suite({"type": "row_count", "kwargs": {"min": 1000}}))
    found = gate(report, "row_count")
    assert (found.observed, found.allowed, found.passed) == ("4", "at least 1,000 rows", False)


def test_warning_does_not_refuse():
    rule = {"type": "between", "column": "cost", "kwargs": {"max": 0.3}, "severity": "warn"}
    report = validate_table(table(), suite(rule))
    assert report.approved
    assert [item.name for item in report.warnings] == ["cost: between"]
    assert report.warnings[0].allowed == "at most 0.3"


def test_missing_column():
    report = validate_table(table().drop_columns(["cost"]), SUITE, schema=SCHEMA)
    assert gate(report, "cost: between").observed == "no such column"
    assert "'cost'" in str(gate(report, "cost: between").remedy)
    assert gate(report, "schema").observed == "cost is missing"
    assert not report.approved


def test_column_of_another_type():
    changed = table().set_column(5, "cost", pa.array(["a", "b", "c", "d"]))
    report = validate_table(changed, SUITE, schema=SCHEMA)
    assert gate(report, "schema").observed == "cost is string, not double"
    assert gate(report, "cost: between").observed.startswith("cannot be evaluated: ")
    assert not report.approved


def test_column_without_values():
    """Rules on values hold for nulls, so an empty column would pass them all."""
    report = validate_table(table(cost=[None] * 4), suite({"type": "between", "column": "cost", "kwargs": {"min": 0}}))
    assert gate(report, "cost: between").passed
    assert gate(report, "cost: has values").observed == "all 4 rows are null"
    assert not report.approved


def test_empty_table():
    report = validate_table(SCHEMA.empty_table(), SUITE, schema=SCHEMA)
    assert {item.name for item in report.refusals} == {"rows", "row_count"}
    assert gate(report, "rows").observed == 0
    assert report.balance["workers"].counts == {}


def test_duplicates_are_counted_over_what_is_learned():
    same = {name: [values[0]] * 2 + values[2:] for name, values in GOOD.items()}
    same["id"] = GOOD["id"]
    report = validate_table(table(**same), SUITE)
    # Rows 0 and 1 differ in id only, which nobody learns from.
    assert (report.duplicates.rows, report.duplicates.share) == (1, 0.25)
    assert report.duplicates.columns == ("instruction", "task_types", "dependencies", "cost")
    assert not gate(report, "duplicates").passed
    allowing = ValidationThresholds(max_duplicate_share=0.25)
    assert gate(validate_table(table(**same), SUITE, thresholds=allowing), "duplicates").passed


def test_label_balance():
    report = validate_table(table(workers=[["small"], ["small", "large"], ["small"], ["small"]]), SUITE)
    found = report.balance["workers"]
    assert found.counts == {"small": 4, "large": 1}
    assert (found.most_frequent, found.share) == ("small", 0.8)
    assert found.entropy == pytest.approx(-(0.8 * math.log2(0.8) + 0.2 * math.log2(0.2)))
    assert gate(report, "workers: most frequent").passed
    strict = validate_table(table(workers=[["small"]] * 4), SUITE, thresholds=ValidationThresholds(max_label_share=0.9))
    assert strict.balance["workers"].entropy == 0.0
    assert {item.name for item in strict.warnings} == {"workers: most frequent", "workers: entropy"}
    assert strict.approved


def test_ids_are_no_labels():
    report = validate_table(pa.table({"id": ["a"], "model_selections": [[0, 1]]}), suite(*ALL_RULES[:1]))
    assert report.balance == {}


def test_execution_log_has_a_schema_of_its_own():
    logs = ExpectationSuite.model_validate({"table": "execution_logs", "expectations": ALL_RULES[:1]})
    report = validate_table(table(), logs)
    assert "execution_id is missing" in str(gate(report, "schema").observed)


def test_report_is_json(tmp_path: Path):
    report = validate_table(table(), SUITE, schema=SCHEMA)
    report.save(tmp_path / "reports" / "r.json")
    saved = json.loads((tmp_path / "reports" / "r.json").read_text())
    assert (saved["verdict"], saved["approved"], saved["rows"]) == ("approved", True, 4)
    assert len(saved["gates"]) == len(report.gates)
    assert saved["great_expectations"].startswith("1.")


def test_file_and_folder(tmp_path: Path):
    pq.write_table(table().slice(0, 2), tmp_path / "a.parquet")
    pq.write_table(table().slice(2), tmp_path / "b.parquet")
    assert read_table(tmp_path)["id"].to_pylist() == ["a", "b", "c", "d"]
    assert validate_table(tmp_path, SUITE).rows == 4
    assert validate_table(tmp_path / "a.parquet", SUITE).rows == 2
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.parquet cannot be read"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="no table at"):
        read_table(tmp_path / "none.parquet")


def test_writes_prints_and_calls_nothing(tmp_path: Path):
    """In a process of its own: every connection and every file opened for writing is an error there."""
    script = """
import builtins, io, os, socket, sys
import pyarrow as pa
from orchestai.config import ExpectationSuite
from orchestai.validation import validate_table

assert "great_expectations" not in sys.modules and "pandas" not in sys.modules
touched = []
def watch(event, args):
    if "__pycache__" in str(args) or "/dev/" in str(args):
        return
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if writes or event in ("socket.connect", "socket.getaddrinfo", "os.mkdir"):
        touched.append((event, str(args)))
sys.addaudithook(watch)
suite = ExpectationSuite.model_validate({"table": "t", "expectations": [
    {"type": "unique", "column": "a"}, {"type": "between", "column": "a", "kwargs": {"max": 1}}]})
report = validate_table(pa.table({"a": [1, 2]}), suite)
assert not report.approved
assert touched == [], touched
"""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
