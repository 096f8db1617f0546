"""`validate FILE`: exit codes, reports, settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Cli

GATE = "sample_rows: 200\nnull_draws: 30\nbootstrap_draws: 10\ncascade_rows: 200\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(700)
    frame = pd.DataFrame({"a": a, "b": a + rng.standard_normal(700), "c": rng.gamma(2.0, size=700)})
    frame.head(400).to_csv(tmp_path / "healthy.csv", index=False)
    frame.tail(300).to_csv(tmp_path / "good.csv", index=False)
    frame.tail(300).iloc[np.arange(300) % 6].to_csv(tmp_path / "bad.csv", index=False)
    (tmp_path / "gate.yml").write_text(GATE)
    return tmp_path


def test_exit_codes_and_reports(cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--reference", files / "healthy.csv", "--config", files / "gate.yml")
    good = cli("validate", files / "good.csv", *given, "--report", files / "r.json", "--html", files / "r.html")
    assert good.code == 0, good.out + good.err
    assert json.loads((files / "r.json").read_text())["approved_for_training"] is True
    assert "fit for training" in (files / "r.html").read_text()

    bad = cli("validate", files / "bad.csv", *given, "--json")
    assert bad.code == 3
    assert bad.json["verdict"] == "rejected"

    def broken(*_args: object, **_kwargs: object) -> None:
        raise MemoryError("no memory left")

    monkeypatch.setattr("orchestai.validation.validator.score_rows", broken)
    partial = cli("validate", files / "good.csv", *given)
    assert partial.code == 4
    assert "stage localize failed" in partial.out
    assert "no memory left" in partial.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.csv",), "no table"),
        (("good.csv", "--config", "none.yml"), "cannot be read"),
        (("good.csv", "--reference", "healthy.csv", "--time-ordered"), "both name a reference"),
        (("--label", "a"), "belong to the gate"),
        (("good.csv", "--label", "nothing"), "does not exist"),
    ],
)
def test_bad_input(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(files)
    found = cli("validate", *arguments)
    assert found.code == 2
    assert words in " ".join((found.out + found.err).split())


def test_wrong_settings_are_all_named(cli: Cli, files: Path) -> None:
    (files / "wrong.yml").write_text("collapse_treshold: 80\nseed: x\n")
    found = cli("validate", files / "good.csv", "--config", files / "wrong.yml")
    assert found.code == 2
    assert "collapse_treshold" in found.err
    assert "seed" in found.err
