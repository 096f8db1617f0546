"""Prompt templates as they are declared; `orchestai.prompts` renders them."""

from __future__ import annotations

import difflib
from functools import lru_cache

from jinja2 import TemplateError, TemplateSyntaxError, meta
from pydantic import Field, ValidationInfo, field_validator

from orchestai.config.templating import sandboxed_environment
from orchestai.contracts.base import Record

TASK_VARIABLES = ("task", "request", "material", "outputs", "constraints")
"""Names that the template of a task type may use."""

ROLE_VARIABLES = {
    "planner": ("request", "inputs", "catalog", "constraints", "max_subtasks"),
    "repair": ("request", "inputs", "catalog", "constraints", "max_subtasks", "proposal", "error"),
    "revision": ("prompt", "answer", "reason"),
}
"""Names that the templates beside the task types may use."""

DEFAULT = "default"
ROLES = (DEFAULT, *ROLE_VARIABLES)
"""Templates that every project has: for task types without their own, for the LLM planner, and for a second try."""


class PromptTemplate(Record):
    """One version of one template.

    Attributes:
        name: Identifier; with the version it names the template in logs, as in `summarization@1`.
        task_type: Task type that it is for, or `default`, `planner`, `repair` or `revision`.
        version: Number of this version.
        active: Whether it is used; exactly one version a task type is.
        system: Template of the system prompt.
        template: Template of the user prompt.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    task_type: str = Field(min_length=1)
    version: int = Field(ge=1)
    active: bool = True
    system: str = ""
    template: str = Field(min_length=1)

    @property
    def label(self) -> str:
        """Name and version, as logs show them."""
        return f"{self.name}@{self.version}"

    @field_validator("system", "template")
    @classmethod
    def _check_template(cls, source: str, info: ValidationInfo) -> str:
        known = ROLE_VARIABLES.get(info.data.get("task_type", ""), TASK_VARIABLES)
        for name in sorted(_variables(source) - set(known)):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            raise ValueError(f"uses the unknown variable {name!r}. {hint}")
        return source


class PromptsFile(Record):
    """One file of `prompts/`.

    Attributes:
        prompts: Templates and their versions.
    """

    prompts: tuple[PromptTemplate, ...]


@lru_cache(maxsize=256)
def _variables(source: str) -> frozenset[str]:
    """Return the names that a template wants to be given; remembered, for a project is loaded often."""
    environment = sandboxed_environment()
    environment.filters["block"] = str  # the renderer's own filter, known here by name only
    try:
        return frozenset(meta.find_undeclared_variables(environment.parse(source)))
    except TemplateSyntaxError as error:
        raise ValueError(f"is not a Jinja template: line {error.lineno} of it: {error.message}.") from error
    except TemplateError as error:
        raise ValueError(f"is not a Jinja template: {error}.") from error
