"""Any table can be sampled, a header is told from a row, and an interrupted benchmark goes on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.progress import Progress
from bench.tables import label_of, read_sample, usable
from orchestai.errors import DataError


def sample(path: Path, rows: int = 1000) -> pd.DataFrame:
    return read_sample(path, rows, np.random.default_rng(0)).frame


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,x\n2,y\n", ["a", "b"]),
        ("39, Private,7\n50, Private,3\n28, State,9\n", ["c0", "c1", "c2"]),
        ("country,2019,2020\nFR,1,2\nDE,3,4\n", ["country", "2019", "2020"]),
        ("0,1,2\n5.5,6,7\n8,9,1\n", ["0", "1", "2"]),
        ("0.5,0.1,7\n5.5,6,7\n8,9,1\n", ["c0", "c1", "c2"]),
        ("a;b\n1;x\n2;y\n", ["a", "b"]),
    ],
)
def test_headers(tmp_path: Path, text: str, names: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert list(sample(path).columns) == names


def test_a_sample_is_uniform_and_says_how_large_the_table_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", "a,b\n" + "".join(f"{row},x\n" for row in range(5_000)))
    monkeypatch.setattr("bench.tables._CELLS_AT_ONCE", 1_000)  # several chunks
    found = read_sample(path, 800, np.random.default_rng(0))
    assert (found.rows, len(found.frame), found.frame["a"].nunique()) == (5_000, 800, 800)
    # The mean of 800 of 0..4999 without return: 2,499.5 +- 47.
    assert abs(found.frame["a"].mean() - 2_499.5) < 190
    frame = found.frame.reset_index(drop=True)
    frame.to_parquet(tmp_path / "t.parquet")
    again = read_sample(tmp_path / "t.parquet", 10_000, np.random.default_rng(0))
    assert (again.rows, sorted(again.frame["a"])) == (800, sorted(frame["a"]))


def test_what_cannot_be_spoiled_is_made_so_or_left_out() -> None:
    frame = pd.DataFrame(
        {
            "empty": [None, None],
            "mixed": [1, "a"],
            "nested": [[1], [2]],
            "whole": pd.array([1, None], dtype="Int64"),
            "far": [1.0, np.inf],
        }
    )
    found, notes = usable(frame, None)
    assert list(found.columns) == ["mixed", "nested", "whole", "far"]
    assert (found["mixed"].tolist(), found["nested"].tolist()) == (["1", "a"], ["[1]", "[2]"])
    assert found["whole"].dtype == found["far"].dtype == np.float64
    assert np.isfinite(found["far"].dropna()).all()
    assert len(notes) == 3
    wide, notes = usable(pd.DataFrame(np.zeros((2, 900)), columns=[f"c{k}" for k in range(900)]), "c7")
    assert wide.shape[1] in (300, 301)
    assert "c7" in wide.columns
    assert "of 900 columns" in notes[0]


def test_labels_and_empty_tables(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1], "b": [2]})
    assert (label_of(frame, "last", tmp_path), label_of(frame, "a", tmp_path), label_of(frame, None, tmp_path)) == (
        "b",
        "a",
        None,
    )
    with pytest.raises(DataError, match="has no column 'z'"):
        label_of(frame, "z", tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="has no rows"):
        sample(tmp_path / "t.csv")


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    out, done = tmp_path / "r.json", []

    def work(name: str) -> dict[str, int]:
        done.append(name)
        if name == "b" and len(done) == 2:
            raise KeyboardInterrupt
        return {"value": len(done)}

    first = Progress(out, "x")
    assert first.do("a", lambda: work("a"), str) == {"value": 1}
    with pytest.raises(KeyboardInterrupt):
        first.do("b", lambda: work("b"), str)
    second = Progress(out, "x")
    assert second.do("a", lambda: work("a"), str) == {"value": 1}
    assert second.do("b", lambda: work("b"), str) == {"value": 3}
    assert second.do("c", lambda: {"value": 1 // 0}, str) is None
    assert second.failed["c"].startswith("ZeroDivisionError")
    # Other data, options or code: nothing is taken over.
    assert Progress(out, "y").do("a", lambda: work("a"), str) == {"value": 4}
    Progress.forget(out)
    assert Progress(out, "y").do("a", lambda: work("a"), str) == {"value": 5}
