from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestai.config import ArmsConfig, Settings, load_project, packaged_directory
from orchestai.errors import ConfigError


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.py")
    return Path(shutil.copytree(packaged_directory(), tmp_path / "configs", ignore=ignored))


def test_the_packaged_file_says_the_defaults() -> None:
    assert load_project(settings=Settings.from_mapping({})).arms == ArmsConfig()


def test_without_the_file_the_defaults_hold(configs: Path) -> None:
    (configs / "arms" / "default.yml").unlink()
    assert load_project(configs, settings=Settings.from_mapping({})).arms == ArmsConfig()


def test_a_change_is_read(configs: Path) -> None:
    (configs / "arms" / "default.yml").write_text("sandbox: {wall_s: 3}\njudge_threshold: 0.7\n")
    arms = load_project(configs, settings=Settings.from_mapping({})).arms
    assert (arms.sandbox.wall_s, arms.sandbox.memory_mb, arms.judge_threshold) == (3.0, 512, 0.7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sandbox: {wal_s: 3}", "Did you mean 'wall_s'?"),
        ("sandbox: {memory_mb: 1}", "must be >= 64, got 1"),
        ("scoring: {success: 0, cost: 0, latency: 0, load: 0}", "must be > 0"),
        ("retriever: {passage_words: 10, overlap_words: 10}", "must be < `passage_words`"),
    ],
)
def test_mistakes_are_named(configs: Path, text: str, said: str) -> None:
    (configs / "arms" / "default.yml").write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_project(configs, settings=Settings.from_mapping({}))
    assert said in str(caught.value)
    assert "arms/default.yml:1" in str(caught.value)
