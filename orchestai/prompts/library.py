"""Finds the template of a task type and renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Template, TemplateError
from pydantic import Field

from orchestai.config import PromptTemplate
from orchestai.config.prompts import DEFAULT
from orchestai.config.templating import sandboxed_environment
from orchestai.contracts import MAX_SUBTASKS, Instruction, Subtask, TaskCatalog
from orchestai.contracts.base import Record
from orchestai.errors import ConfigError, ConfigProblem
from orchestai.prompts.blocks import block, cut, share

MEDIA = ("image", "audio")
"""Beginnings of the names (`image`, `image_2`) of inputs that travel beside the prompt, not in it."""


class RenderedPrompt(Record):
    """What goes to a worker.

    Attributes:
        system: System prompt.
        prompt: User prompt.
        version: Template that made them, as in `summarization@1`.
    """

    system: str = ""
    prompt: str = Field(min_length=1)
    version: str


class PromptLibrary:
    """The active templates of a project.

    Text of users and workers only ever enters as a value, never as a template: Jinja in it stays as it is.

    Args:
        templates: All templates; inactive versions are used only where they are asked for.
        max_dependency_chars: Characters that the outputs of all dependencies may take together. What is
            longer is cut, with a mark.
    """

    def __init__(self, templates: Sequence[PromptTemplate], *, max_dependency_chars: int = 6000) -> None:
        self._templates = {template.task_type: template for template in templates if template.active}
        self._labelled = {template.label: template for template in templates}
        self._max_dependency_chars = max_dependency_chars
        self._environment = sandboxed_environment()
        self._environment.filters["block"] = block
        self._compiled: dict[str, Template] = {}

    def find(self, task_type: str) -> PromptTemplate:
        """Return the active template of `task_type`, or the default one.

        Raises:
            ConfigError: There is neither.
        """
        template = self._templates.get(task_type) or self._templates.get(DEFAULT)
        if template is None:
            raise _problem(
                task_type,
                f"there is no active prompt for {task_type!r}, and no default one.",
                "Add one with `task_type: default` to dbt_like_configs/prompts/.",
            )
        return template

    def render(
        self,
        task_type: str,
        *,
        instruction: Instruction,
        subtask: Subtask,
        dependencies: Mapping[int, str] | None = None,
        label: str | None = None,
    ) -> RenderedPrompt:
        """Return the prompt of one sub-task.

        Args:
            task_type: Kind of the sub-task.
            instruction: What the user asked for.
            subtask: What is to be done now.
            dependencies: Outputs of the sub-tasks that this one waits for, by node.
            label: Version to use, as in `summarization@2`; the active one if not given, or not known any more.

        Raises:
            ConfigError: The template cannot be rendered.
        """
        outputs = list((dependencies or {}).values())
        limits = share([len(output) for output in outputs], self._max_dependency_chars)
        return self._render(
            self._labelled.get(label or "") or self.find(task_type),
            task=subtask.description.strip() or instruction.text,
            request=instruction.text,
            material=[text for name, text in instruction.inputs.items() if not name.startswith(MEDIA)],
            outputs=[cut(output, limit) for output, limit in zip(outputs, limits, strict=True)],
            constraints=instruction.constraints,
        )

    def render_revision(self, before: RenderedPrompt, *, answer: str, reason: str) -> RenderedPrompt:
        """Return the prompt of a second try.

        Args:
            before: Prompt of the first.
            answer: What came of it.
            reason: Why that was not accepted.

        Raises:
            ConfigError: The template cannot be rendered.
        """
        template = self.find("revision")
        again = self._render(
            template, prompt=before.prompt, answer=cut(answer, self._max_dependency_chars), reason=reason
        )
        return RenderedPrompt(system=before.system, prompt=again.prompt, version=f"{before.version}+{template.label}")

    def render_planner(
        self, instruction: Instruction, tasks: TaskCatalog, *, max_subtasks: int = MAX_SUBTASKS
    ) -> RenderedPrompt:
        """Return the prompt that asks a language model for a plan over `tasks`.

        Raises:
            ConfigError: The template cannot be rendered.
        """
        return self._render(self.find("planner"), **_planning(instruction, tasks, max_subtasks))

    def render_repair(
        self,
        instruction: Instruction,
        tasks: TaskCatalog,
        *,
        proposal: str,
        error: str,
        max_subtasks: int = MAX_SUBTASKS,
    ) -> RenderedPrompt:
        """Return the prompt that sends an invalid plan back.

        Args:
            instruction: What the user asked for.
            tasks: The task types that a plan may use.
            proposal: The invalid answer.
            error: What is wrong with it.
            max_subtasks: The most sub-tasks that a plan may have.

        Raises:
            ConfigError: The template cannot be rendered.
        """
        return self._render(
            self.find("repair"),
            **_planning(instruction, tasks, max_subtasks),
            proposal=cut(proposal, self._max_dependency_chars),
            error=error,
        )

    def _render(self, template: PromptTemplate, **values: object) -> RenderedPrompt:
        try:
            system = self._text(template.system, values)
            prompt = self._text(template.template, values)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise _problem(
                template.label,
                f"cannot be rendered: {error}.",
                "Correct the template in dbt_like_configs/prompts/.",
            ) from error
        return RenderedPrompt(system=system, prompt=prompt, version=template.label)

    def _text(self, source: str, values: Mapping[str, object]) -> str:
        if "{" not in source:  # most system prompts are plain text
            return source.strip()
        return self._compile(source).render(values).strip()

    def _compile(self, source: str) -> Template:
        if source not in self._compiled:
            self._compiled[source] = self._environment.from_string(source)
        return self._compiled[source]


def _planning(instruction: Instruction, tasks: TaskCatalog, max_subtasks: int) -> dict[str, object]:
    return {
        "request": instruction.text,
        "inputs": list(instruction.inputs),
        "catalog": [{"name": task.name, "description": task.description} for task in tasks.types],
        "constraints": instruction.constraints,
        "max_subtasks": max_subtasks,
    }


def _problem(key: str, message: str, remedy: str) -> ConfigError:
    return ConfigError([ConfigProblem(file="prompts", line=None, key=key, message=message, remedy=remedy)])
