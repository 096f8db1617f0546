"""`train structure` and `structure`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

DISHES = ("tea", "soup", "rice", "coffee", "stew", "porridge")


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    """Everything waits for what is fetched first, and nothing else does."""
    folder = tmp_path / "plans"
    folder.mkdir()
    columns = {
        "titles": [f"Make {dish}" for dish in DISHES],
        "steps": [[f"fetch the {dish} pot", f"boil water for {dish}", f"slice lemons for {dish}"] for dish in DISHES],
        "edge_list": [[["START", "1"], ["1", "2"], ["1", "3"], ["2", "END"], ["3", "END"]] for _ in DISHES],
    }
    (folder / "plans.json").write_text(json.dumps(columns))
    return folder


def test_steps_in_plain_words_get_their_order(cli: Cli, plans: Path) -> None:
    trained = cli("train", "structure", "--data", plans, "--json")
    assert trained.code == 0
    assert trained.json["plans"] == len(DISHES)

    steps = ("fetch the cocoa pot", "boil water for cocoa", "slice lemons for cocoa")
    found = cli("structure", "Make cocoa", *steps, "--json").json
    assert found["dependencies"] == [[], [0], [0]]

    read = cli("structure", "Make cocoa", stdin="\n\n".join(steps).encode())
    assert read.out.splitlines()[1] == "1 boil water for cocoa  after 0"


def test_without_a_model_the_remedy_is_named(cli: Cli) -> None:
    outcome = cli("structure", "Make tea", "boil water")
    assert outcome.code == 2
    assert "train structure --data" in outcome.err


def test_without_steps_there_is_nothing_to_order(cli: Cli, plans: Path) -> None:
    assert cli("train", "structure", "--data", plans).code == 0
    outcome = cli("structure", "Make tea")
    assert outcome.code == 2
    assert "1 to" in outcome.err
