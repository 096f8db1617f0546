"""`{{ env_var('NAME', 'default') }}` in YAML values, as dbt writes it."""

from __future__ import annotations

import json
from typing import Any

import yaml
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestai.config.document import Document, KeyPath, plain_scalar
from orchestai.config.settings import Settings
from orchestai.config.templating import sandboxed_environment
from orchestai.errors import ConfigProblem


class _MissingVariableError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def render_document(document: Document, settings: Settings) -> dict[KeyPath, ConfigProblem]:
    """Replace every Jinja value of `document`, in place, by what it says.

    Returns:
        What is wrong with the Jinja values, by key.
    """
    renderer = _Renderer(document, settings)
    document.data = renderer.render(document.data, ())
    return renderer.problems


class _Renderer:
    def __init__(self, document: Document, settings: Settings) -> None:
        self.document = document
        self.problems: dict[KeyPath, ConfigProblem] = {}
        self.environment = _environment(settings)

    def render(self, value: Any, key: KeyPath) -> Any:
        if isinstance(value, dict):
            return {name: self.render(item, (*key, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.render(item, (*key, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and ("{{" in value or "{%" in value):
            return self._render_text(value, key)
        return value

    def _render_text(self, template: str, key: KeyPath) -> Any:
        try:
            text = self.environment.from_string(template).render().strip()
        except _MissingVariableError as missing:
            return self._refuse(
                key,
                f"the environment variable {missing.name} is not set.",
                f"Set it, put it into .env, or give a default: env_var('{missing.name}', '...').",
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            remedy = "Write \"{{ env_var('NAME', 'default') }}\"."
            return self._refuse(key, f"cannot be rendered: {error}.", remedy)
        self.document.rendered[key] = text
        return _coerce(text)

    def _refuse(self, key: KeyPath, message: str, remedy: str) -> None:
        self.document.unresolved.add(key)
        self.problems[key] = self.document.problem(key, message, remedy)


def _environment(settings: Settings) -> ImmutableSandboxedEnvironment:
    def env_var(name: str, default: Any = None) -> str:
        value = settings.env(name)
        if value is not None:
            return value
        if default is None:
            raise _MissingVariableError(name)
        return str(default)

    environment = sandboxed_environment()
    environment.globals = {"env_var": env_var}
    environment.filters["as_list"] = _as_list
    return environment


def _as_list(text: str) -> str:
    """`chat, vision` becomes a list of YAML."""
    return json.dumps([item.strip() for item in text.strip("[] ").split(",") if item.strip()])


def _coerce(text: str) -> Any:
    if text.startswith("["):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    return plain_scalar(text)
