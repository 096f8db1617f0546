"""The public Python class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from orchestai.app.executions import Execution
from orchestai.app.runtime import build_runtime
from orchestai.config import Settings, load_project
from orchestai.contracts import ExecutionResult, Instruction, Plan
from orchestai.engine.execution import OnEvent
from orchestai.errors import InputError


class OrchestAI:
    """Plans and runs instructions.

    Example:
        >>> with OrchestAI() as ai:
        ...     result = ai.run("Summarise this in one sentence.", inputs={"text": report})
        ...     print(result.answer, result.total_cost)

    Args:
        project_dir: Folder of the YAML configuration; the packaged defaults when not given.
        target: Target of `profiles.yml`; `ORCHESTAI_TARGET` or `dev` when not given.
        mock: Let the simulator play every worker, without network; answers are marked as simulated.

    Raises:
        ConfigError: The configuration is wrong.
    """

    def __init__(self, project_dir: str | Path | None = None, *, target: str | None = None, mock: bool = False) -> None:
        directory = Path(project_dir) if project_dir is not None else None
        self.project = load_project(directory, target=target, settings=Settings.load())
        self._runtime = build_runtime(self.project, mock=mock)

    def plan(self, instruction: str | Instruction, **fields: object) -> Plan:
        """Return the plan for an instruction without running it.

        Args:
            instruction: Text, or a complete `Instruction`.
            **fields: Further fields of `Instruction` (`inputs`, `constraints`, `priority`, `budget`).
        """
        return self._runtime.plan(as_instruction(instruction, fields))

    def run(
        self, instruction: str | Instruction, *, on_event: OnEvent | None = None, **fields: object
    ) -> ExecutionResult:
        """Plan, run and log an instruction.

        Args:
            instruction: Text, or a complete `Instruction`.
            on_event: Told of each change of state of a sub-task.
            **fields: Further fields of `Instruction`.
        """
        return self._runtime.execute(as_instruction(instruction, fields), on_event=on_event).result

    async def aplan(self, instruction: str | Instruction, **fields: object) -> Plan:
        """Plan; see `plan`."""
        return await self._runtime.aplan(as_instruction(instruction, fields))

    async def arun(
        self, instruction: str | Instruction, *, on_event: OnEvent | None = None, **fields: object
    ) -> ExecutionResult:
        """Run; see `run`."""
        execution: Execution = await self._runtime.aexecute(as_instruction(instruction, fields), on_event=on_event)
        return execution.result

    def close(self) -> None:
        """Give back connections, log and local servers."""
        self._runtime.close()

    async def aclose(self) -> None:
        """Close from asynchronous code."""
        await self._runtime.aclose()

    def __enter__(self) -> OrchestAI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> OrchestAI:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def as_instruction(instruction: str | Instruction, fields: Mapping[str, object]) -> Instruction:
    """Return an `Instruction` of text and further fields.

    Raises:
        InputError: The text cannot be an instruction, or a field is wrong.
    """
    if isinstance(instruction, Instruction):
        if not fields:
            return instruction
        given: dict[str, object] = {**instruction.model_dump(), **fields}
    else:
        given = {"text": instruction, **fields}
    try:
        return Instruction.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(
            f"`{'.'.join(map(str, item['loc']))}`: {item['msg']}, got {item['input']!r:.80}"
            for item in error.errors(include_url=False)
        )
        raise InputError(f"The instruction is not valid: {problems}.", remedy="Correct these fields.") from error
