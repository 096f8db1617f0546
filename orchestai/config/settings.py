"""The only reader of the environment and of `.env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, get_args

from dotenv import dotenv_values
from pydantic import Field, PrivateAttr, ValidationError

from orchestai.config.paths import DEFAULT_HOME
from orchestai.contracts.base import Record
from orchestai.errors import ConfigError, ConfigProblem

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

VARIABLES = {
    "home": "ORCHESTAI_HOME",
    "target": "ORCHESTAI_TARGET",
    "project_dir": "ORCHESTAI_PROJECT_DIR",
    "log_level": "ORCHESTAI_LOG_LEVEL",
    "openai_base_url": "OPENAI_BASE_URL",
    "openai_api_key": "OPENAI_API_KEY",
    "openai_model": "OPENAI_MODEL",
}


class Settings(Record):
    """What the environment says.

    Attributes:
        home: Folder of all state.
        target: Target of `profiles.yml`; null means the one that the profile names.
        project_dir: Folder of the configuration; null means the packaged one.
        log_level: Least severe messages to show.
        openai_base_url: OpenAI-format endpoint of the user; null means the packaged model.
        openai_api_key: Key for it.
        openai_model: Name of the model there.
    """

    home: Path = DEFAULT_HOME
    target: str | None = None
    project_dir: Path | None = None
    log_level: LogLevel = "INFO"
    openai_base_url: str | None = None
    openai_api_key: str | None = Field(default=None, repr=False, exclude=True)
    openai_model: str | None = None
    _environment: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, dotenv: Path | None = None) -> Self:
        """Read the environment and a `.env` file; where both name a variable, the environment wins.

        Args:
            dotenv: File to read; null means `.env` of the working directory, if there is one.

        Raises:
            ConfigError: The file cannot be read, or a variable has a value that is not allowed.
        """
        values = _read_dotenv(dotenv)
        return cls.from_mapping({**values, **os.environ})

    @classmethod
    def from_mapping(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings that `environment` says; an empty variable counts as not set.

        Raises:
            ConfigError: A variable has a value that is not allowed.
        """
        given = {field: environment[name] for field, name in VARIABLES.items() if environment.get(name)}
        if "log_level" in given:
            given["log_level"] = given["log_level"].upper()
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            levels = ", ".join(get_args(LogLevel))
            raise ConfigError(
                [
                    ConfigProblem(
                        file="environment",
                        line=None,
                        key=VARIABLES[str(item["loc"][0])],
                        message=f"must be one of {levels}, got {item['input']!r}.",
                        remedy="Correct or unset the variable.",
                    )
                    for item in error.errors(include_url=False)
                ]
            ) from error
        settings._environment.update(environment)
        return settings

    def env(self, name: str) -> str | None:
        """Return the variable `name`, or null if it is not set or empty."""
        return self._environment.get(name) or None

    def secrets(self) -> frozenset[str]:
        """Return the values of all variables whose names say that they are secret."""
        return frozenset(value for name, value in self._environment.items() if is_secret_name(name) and len(value) >= 4)


SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "DSN")


def is_secret_name(name: str) -> bool:
    """Say whether a variable of this name holds a secret."""
    return any(word in name.upper() for word in SECRET_WORDS)


def _read_dotenv(dotenv: Path | None) -> dict[str, str]:
    path = dotenv if dotenv is not None else Path(".env")
    try:
        if dotenv is None and not path.is_file():
            return {}
        with path.open(encoding="utf-8") as stream:
            # Without interpolation: a `$` inside a key is part of the key.
            values = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        problem = ConfigProblem(
            file=str(path),
            line=None,
            key=".env",
            message=f"cannot be read: {error}.",
            remedy="Write NAME=value lines in UTF-8, or leave the file out.",
        )
        raise ConfigError([problem]) from error
    return {name: value for name, value in values.items() if value is not None}
