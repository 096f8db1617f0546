"""Dropped files: waited for while they grow, judged once for each content, verdict beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestai.app.inbox import complete_files, inbox_named, judge_file
from orchestai.config import InboxConfig
from orchestai.errors import DataError

GATE = "sample_rows: 300\nnull_draws: 40\nbootstrap_draws: 10\ncascade_rows: 300\n"


def table(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(rows)
    return pd.DataFrame({"a": a, "b": a + rng.standard_normal(rows), "c": rng.integers(0, 5, rows)})


@pytest.fixture
def inbox(tmp_path: Path) -> InboxConfig:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (tmp_path / "gate.yml").write_text(GATE)
    return InboxConfig(folder=folder, settle_seconds=5, gate=tmp_path / "gate.yml")


def drop(path: Path, content: str, age: float) -> Path:
    """Write a file that was last changed at second `age` of the epoch of the test."""
    path.write_text(content)
    os.utime(path, (age, age))
    return path


def test_a_growing_file_is_waited_for_and_reported_once(inbox: InboxConfig) -> None:
    path = drop(inbox.folder / "data.csv", "a,b\n1,2\n", 1000)
    found, seen = complete_files(inbox, {}, now=1100)
    assert found == [], "one look cannot tell whether it grows"
    drop(path, "a,b\n1,2\n3,4\n", 1101)
    found, seen = complete_files(inbox, seen, now=1102)
    assert found == []
    found, seen = complete_files(inbox, seen, now=1104)
    assert found == [], "it has not been quiet for long enough"
    found, seen = complete_files(inbox, seen, now=1107)
    assert [file.path for file in found] == [path]
    assert complete_files(inbox, seen, now=1200)[0] == []


def test_the_same_content_again_is_not_judged_again_but_new_content_is(inbox: InboxConfig) -> None:
    path = drop(inbox.folder / "data.csv", "a\n1\n", 1000)
    seen: dict[str, dict[str, str]] = {}
    for moment in (1010, 1020):
        found, seen = complete_files(inbox, seen, now=moment)
    (first,) = found
    drop(path, "a\n1\n", 1030)
    for moment in (1040, 1050):
        found, seen = complete_files(inbox, seen, now=moment)
        assert found == []
    drop(path, "a\n2\n", 1060)
    for moment in (1070, 1080):
        found, seen = complete_files(inbox, seen, now=moment)
    assert found[0].content != first.content
    path.unlink()
    assert complete_files(inbox, seen, now=1090) == ([], {})


def test_only_data_files_are_looked_at(inbox: InboxConfig, tmp_path: Path) -> None:
    for name in (
        ".hidden",
        "x.csv.part",
        "x.tmp",
        "y.csv.verdict.json",
        "y.csv.verdict.html",
        "reference.csv",
        "z.csv",
    ):
        drop(inbox.folder / name, "a\n1\n", 0)
    (inbox.folder / "folder").mkdir()
    (inbox.folder / "link.csv").symlink_to(tmp_path / "gate.yml")
    inbox = inbox.model_copy(update={"reference": inbox.folder / "reference.csv", "settle_seconds": 0.0})
    _, seen = complete_files(inbox, {}, now=100)
    assert list(seen) == ["z.csv"]
    assert complete_files(inbox.model_copy(update={"folder": tmp_path / "nowhere"}), {}) == ([], {})
    assert list(complete_files(inbox.model_copy(update={"pattern": "*.parquet"}), {})[1]) == []


def test_the_verdict_lies_beside_the_file_which_stays(inbox: InboxConfig, tmp_path: Path) -> None:
    path = inbox.folder / "good.csv"
    table().to_csv(path, index=False)
    found = judge_file(path, inbox, cache_folder=tmp_path / "cache")
    assert found.verdict in ("approved", "warn")
    assert path.exists()
    written = json.loads((inbox.folder / "good.csv.verdict.json").read_text())
    assert written["approved_for_training"] is True
    assert written["file"] == "good.csv"
    assert "<html" in (inbox.folder / "good.csv.verdict.html").read_text()
    again = judge_file(path, inbox, cache_folder=tmp_path / "cache")
    assert again.result is not None
    assert again.result.from_cache


@pytest.mark.slow
def test_files_are_moved_only_where_that_is_configured_and_nothing_is_overwritten(
    inbox: InboxConfig, tmp_path: Path
) -> None:
    table().to_parquet(tmp_path / "healthy.parquet")
    moving = inbox.model_copy(update={"rejected_to": tmp_path / "rejected", "reference": tmp_path / "healthy.parquet"})
    for number in range(2):
        path = inbox.folder / "bad.csv"
        table(400, 1).iloc[np.arange(400) % 8].assign(extra=number).to_csv(path, index=False)
        found = judge_file(path, moving)
        assert found.verdict == "rejected"
        assert not path.exists()
        assert found.path.exists()
    assert sorted(file.name for file in (tmp_path / "rejected").iterdir()) == ["bad.csv", "bad__2.csv"]


def test_an_unreadable_file_gets_a_verdict_that_says_why(inbox: InboxConfig) -> None:
    path = drop(inbox.folder / "empty.csv", "", 0)
    found = judge_file(path, inbox)
    assert (found.verdict, found.result) == ("unreadable", None)
    written = json.loads((inbox.folder / "empty.csv.verdict.json").read_text())
    assert written["approved_for_training"] is False
    assert "empty" in written["reason"]
    assert written["remedy"]


def test_a_file_that_changed_or_vanished_is_told(inbox: InboxConfig) -> None:
    path = drop(inbox.folder / "data.csv", "a\n1\n", 0)
    with pytest.raises(DataError, match="has changed since"):
        judge_file(path, inbox, content="0" * 64)
    path.unlink()
    with pytest.raises(DataError, match="no file"):
        judge_file(path, inbox)
    with pytest.raises(DataError, match="Unknown inbox 'other'"):
        inbox_named((inbox,), "other")
