from __future__ import annotations

from pathlib import Path

import pytest

import bench.validation
from bench.command import run_command
from orchestai.errors import DataError


def test_the_status_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[int] = []
    assert run_command(lambda: 3, shown.append) == 0
    assert run_command(lambda: 3, lambda measured: measured - 2) == 1, "lost requests of a soak, say"
    assert shown == [3]

    def fail() -> int:
        raise DataError("There is no x.", remedy="Make it.")

    assert run_command(fail, shown.append) == 2
    assert shown == [3]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: There is no x. Make it.\n")


def test_what_is_no_error_of_ours_is_seen_whole() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0, lambda _: None)


def test_a_table_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status = bench.validation.main(["--table", str(tmp_path / "no.csv"), "--out", str(tmp_path / "report.json")])
    assert status == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "no.csv" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
