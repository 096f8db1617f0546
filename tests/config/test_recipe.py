from __future__ import annotations

from pathlib import Path

import pytest

from orchestai.config import Phase1Config, packaged_directory, read_phase1, write_phase1
from orchestai.errors import ConfigError, StorageError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    recipe = Phase1Config(learning_rate=3.2e-05, batch_size=16, dropout=0.25)
    write_phase1(tmp_path / "own" / "phase1.yml", recipe, note="Best of 3.\nOn validation.")
    assert read_phase1(tmp_path / "own" / "phase1.yml") == recipe
    text = (tmp_path / "own" / "phase1.yml").read_text()
    assert "# Best of 3.\n# On validation.\n" in text


def test_the_packaged_recipe_is_one(tmp_path: Path) -> None:
    assert read_phase1(packaged_directory() / "training" / "phase1.yml").epochs > 0
    (tmp_path / "part.yml").write_text("epochs: 3\n")
    assert read_phase1(tmp_path / "part.yml") == Phase1Config(epochs=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 0\n", "part.yml:1: epochs: must be >= 1, got 0"),
        ("\nepoch: 3\n", "Did you mean 'epochs'"),
        ("- 3\n", "must be a mapping"),
        ("a: [\n", "part.yml"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "part.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_phase1(tmp_path / "part.yml")
    assert message in str(caught.value)


def test_a_missing_file_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_phase1(tmp_path / "none.yml")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_phase1(tmp_path / "file" / "phase1.yml", Phase1Config())
