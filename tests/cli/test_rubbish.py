"""Nonsense on the command line: one error that says what would be right, exit code 2, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("simulate", "--port", "99999"), "0<=x<=65535"),
        (("simulate", "--port", "-1"), "0<=x<=65535"),
        (("tune", "--timeout", "-1"), "x>=0.001"),
        (("token", "create", "ci", "--scopes", ""), "`scopes`"),
        (("run", "x", "--project", "FILE"), "is a file, not a folder"),
        (("tune", "--config", "nowhere.yml"), "Check the path."),
        (("tune", "--config", "."), "Check the path."),
        (("train", "phase1", "--data", "nowhere"), "`train_planner`"),
        (("evaluate",), "`train_planner`"),
        (("evaluate", "--since", "7d"), "Add --off-policy"),
        (("evaluate", "--policy", "cheapest"), "Add --off-policy"),
        (("validate",), "`ingest_and_validate`"),
    ],
)
def test_it_is_one_error_with_a_remedy(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    file = tmp_path / "file"
    file.touch()
    outcome = cli(*(str(file) if argument == "FILE" else argument for argument in arguments))
    assert outcome.code == 2
    assert says in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
