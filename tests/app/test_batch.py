"""Files of instructions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestai.app.batch import plan_file
from orchestai.config import Project
from orchestai.errors import DataError, StorageError

GOOD = [
    '{"id": "a", "instruction": "Summarize this report and translate the summary into French."}',
    '{"id": 7, "instruction": "Write a haiku\u2028about rivers."}',
]


def test_each_line_becomes_a_plan_in_order(project: Project, tmp_path: Path) -> None:
    file, output = tmp_path / "in.jsonl", tmp_path / "deep" / "out.jsonl"
    file.write_text("\ufeff" + "\n\n".join(GOOD) + "\r\n", encoding="utf-8")
    report = plan_file(project, file, output, catalog=None, checkpoint=None)
    assert (report.planner, report.lines, report.planned, report.rejected) == ("rules", 2, 2, [])
    assert report.latency_ms_p50 > 0
    first, second = (json.loads(line) for line in output.read_text(encoding="utf-8").splitlines())
    assert (first["id"], first["nodes"], first["links"]) == ("a", ["summarization", "translation"], [[0, 1]])
    assert (second["id"], second["nodes"], second["links"]) == ("7", ["generation"], [])
    assert 0 <= first["confidence"] <= 1
    assert first["planner"] == "rules"
    assert first["latency_ms"] > 0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", 'must be an object with "id" and "instruction"'),
        ('{"id": "x"}', 'must be an object with "id" and "instruction"'),
        ('{"instruction": "Write."}', 'must be an object with "id" and "instruction"'),
        ('{"id": "x", "instruction": 5}', 'must be an object with "id" and "instruction"'),
        ('{"id": "x", "instruction": "  "}', "The instruction is empty"),
        (json.dumps({"id": "x", "instruction": "y" * 40_000}), "40,000 characters"),
        ('{"id": "x", "instruction": "\\u0000"}', "control character U+0000"),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_left_out(
    project: Project, tmp_path: Path, line: str, problem: str
) -> None:
    file, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join([GOOD[0], "", line, GOOD[1]]), encoding="utf-8")
    report = plan_file(project, file, output, catalog=None, checkpoint=None)
    (rejected,) = report.rejected
    assert rejected.startswith(f"{file}:3: ")
    assert problem in rejected
    assert (report.lines, report.planned) == (3, 2)
    assert [json.loads(row)["id"] for row in output.read_text(encoding="utf-8").splitlines()] == ["a", "7"]


def test_an_empty_file_gives_an_empty_file(project: Project, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    report = plan_file(project, tmp_path / "in.jsonl", tmp_path / "out", catalog=None, checkpoint=None)
    assert (report.lines, report.latency_ms_p50, (tmp_path / "out").read_text()) == (0, 0.0, "")


def test_files_that_cannot_be_used_say_why(project: Project, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        plan_file(project, tmp_path / "none", tmp_path / "out", catalog=None, checkpoint=None)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8 text"):
        plan_file(project, tmp_path / "binary", tmp_path / "out", catalog=None, checkpoint=None)
    (tmp_path / "in").write_text(GOOD[0])
    with pytest.raises(StorageError, match="Cannot write"):
        plan_file(project, tmp_path / "in", tmp_path / "in" / "out", catalog=None, checkpoint=None)
