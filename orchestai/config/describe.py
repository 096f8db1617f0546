"""A project as plain values to print, without secrets."""

from __future__ import annotations

from typing import Any

from orchestai.config.project import Project
from orchestai.config.redaction import MASK, redact
from orchestai.config.settings import is_secret_name


def describe(project: Project) -> dict[str, Any]:
    """Return the resolved project as plain values; secrets are masked.

    The result can be written as JSON or YAML.
    """
    settings = project.settings
    shown = project.model_dump(mode="json")
    shown["settings"] = {
        **settings.model_dump(mode="json"),
        "openai_api_key": MASK if settings.openai_api_key else None,
    }
    variables = [worker.api_key_env for worker in project.workers.workers if worker.api_key_env]
    secrets = {*settings.secrets(), *(value for name in variables if (value := settings.env(name)))}
    if settings.openai_api_key:
        secrets.add(settings.openai_api_key)
    described: dict[str, Any] = _mask_names(redact(shown, secrets))
    described["keys"] = {name: "set" if settings.env(name) else "not set" for name in dict.fromkeys(variables)}
    return described


def _mask_names(value: Any) -> Any:
    """Mask what stands under a key with a secret's name, such as a tag `api_token`."""
    if isinstance(value, list):
        return [_mask_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: MASK if _is_secret_value(key, item) else _mask_names(item) for key, item in value.items()}


def _is_secret_value(key: str, value: Any) -> bool:
    """Say whether the key alone hides `value`; `..._tokens` counts tokens, `..._env` names a variable."""
    return isinstance(value, str) and is_secret_name(key) and not key.endswith(("_env", "_tokens"))
