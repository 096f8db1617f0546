"""The error output that docs/how-to/configure.md shows is what really comes out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from orchestai.config import Settings, load_project, packaged_directory
from orchestai.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "configure.md"


def outputs() -> list[str]:
    return re.findall(r"```\n(\d+ problems? .*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(packaged_directory(), tmp_path / "configs", ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    monkeypatch.chdir(tmp_path)
    return Path("configs")


def test_many_mistakes(configs: Path) -> None:
    for file, right, wrong in (
        ("project.yml", "max_attempts: 3", "max_atempts: 3"),
        ("project.yml", "threads: 1", "threads: one"),
        ("workers/simulated.yml", "modalities: [chat, vision]", "modalities: [chat, visoin]"),
        ("expectations/training_data.yml", "kwargs: {values: [train", "kwargs: {value: [train"),
        ("prompts/translation.yml", "{{ task }}", "{{ tsk }}"),
    ):
        text = (configs / file).read_text()
        assert right in text
        (configs / file).write_text(text.replace(right, wrong))
    with pytest.raises(ConfigError) as caught:
        load_project(configs, settings=Settings.from_mapping({}))
    assert str(caught.value) == outputs()[0]


def test_an_endpoint_without_a_model(configs: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(configs, settings=Settings.from_mapping({"OPENAI_BASE_URL": "https://llm.example/v1"}))
    assert str(caught.value) == outputs()[1]
