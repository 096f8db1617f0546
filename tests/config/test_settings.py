from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from orchestai.config import Settings, describe, load_project
from orchestai.errors import ConfigError


def test_the_environment_wins_over_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv = tmp_path / "keys.env"
    dotenv.write_text("OPENAI_API_KEY=from-file\nOPENAI_MODEL='m $HOME'\nORCHESTAI_TARGET=ci\nEMPTY=\n")
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    settings = Settings.load(dotenv)
    assert settings.openai_api_key == "from-environment"
    assert settings.openai_model == "m $HOME"  # a `$` in a value is a `$`
    assert settings.target == "ci"
    assert settings.env("EMPTY") is None
    assert settings.env("ABSENT") is None


def test_dotenv_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load().openai_api_key is None
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-1\n")
    assert Settings.load().openai_api_key == "sk-1"


def test_a_dotenv_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Settings.load(tmp_path / "none.env")
    assert caught.value.problems[0].file == str(tmp_path / "none.env")


def test_a_wrong_log_level() -> None:
    assert Settings.from_mapping({"ORCHESTAI_LOG_LEVEL": "debug"}).log_level == "DEBUG"
    with pytest.raises(ConfigError, match="ORCHESTAI_LOG_LEVEL: must be one of DEBUG, INFO"):
        Settings.from_mapping({"ORCHESTAI_LOG_LEVEL": "loud"})


def test_nothing_that_is_shown_holds_a_secret() -> None:
    environment = {
        "OPENAI_API_KEY": "sk-very-secret-1234",
        "OPENAI_BASE_URL": "https://user:hunter2pass@llm.example/v1",
        "OPENAI_MODEL": "m-sk-very-secret-1234",
        "DB_PASSWORD": "correct-horse",
        "ORCHESTAI_HOME": "/srv/correct-horse",
    }
    settings = Settings.from_mapping(environment)
    project = load_project(settings=settings)
    for secret in ("sk-very-secret-1234", "hunter2pass", "correct-horse"):
        assert secret not in str(describe(project))
    assert settings.openai_api_key == "sk-very-secret-1234"
    assert "openai_api_key" not in settings.model_dump()
    assert "openai_api_key" not in repr(settings)
    assert "settings" not in project.model_dump()
    assert "settings" not in repr(project)
    described = describe(project)
    assert described["settings"]["openai_api_key"] == "***"
    assert described["settings"]["openai_base_url"] == "https://***@llm.example/v1"
    assert described["keys"] == {"OPENAI_API_KEY": "set"}
    assert described["workers"]["workers"][0]["api_key_env"] == "OPENAI_API_KEY"
    # the worker itself keeps what it needs
    assert project.workers["smollm2-135m"].base_url == "https://user:hunter2pass@llm.example/v1"


def test_describe_is_plain() -> None:
    described = describe(load_project(settings=Settings.from_mapping({})))
    assert json.loads(json.dumps(described)) == described
    assert described["keys"] == {"OPENAI_API_KEY": "not set"}
    assert described["settings"]["openai_api_key"] is None
    assert described["planner"]["confidence_threshold"] == 0.6


def test_settings_survive_pickling() -> None:
    # worker processes get the project by pickle
    settings = Settings.from_mapping({"MY_KEY": "abcdef"})
    assert pickle.loads(pickle.dumps(settings)).env("MY_KEY") == "abcdef"
