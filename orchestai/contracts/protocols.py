"""What the engine needs from planners and workers; it knows them by nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, runtime_checkable

from pydantic import Field

from orchestai.contracts.base import Record
from orchestai.contracts.catalog import Modality, WorkerProfile
from orchestai.contracts.instruction import Instruction
from orchestai.contracts.plan import Plan
from orchestai.contracts.result import WorkerOutput


class WorkerRequest(Record):
    """One call to a worker.

    Attributes:
        task_type: Kind of the sub-task.
        modality: Call that it needs.
        system: System prompt.
        prompt: User prompt; dependencies' outputs are already in it.
        inputs: Media by name (`image`, `audio`): path or data URL.
        max_output_tokens: The most that the answer may take.
        timeout_s: Time allowed; the worker's own limit applies as well.
        json_schema: Structure that the answer must have.
        temperature: Randomness of the answer.
        prompt_version: Template that made the prompt.
    """

    task_type: str
    modality: Modality = Modality.CHAT
    system: str = ""
    prompt: str
    inputs: dict[str, str] = Field(default_factory=dict)
    max_output_tokens: int = Field(default=256, ge=1)
    timeout_s: float | None = Field(default=None, gt=0)
    json_schema: dict[str, object] | None = None
    temperature: float = Field(default=0.0, ge=0)
    prompt_version: str | None = None


_BYTES_PER_TOKEN = 2
"""Texts seldom have shorter tokens than this, so that a reservation is rarely too small."""


def worst_case(profile: WorkerProfile, request: WorkerRequest, calls: int = 1) -> tuple[float, int]:
    """Return dollars and tokens that a request may take at most, where it becomes that many calls."""
    prompt_bytes = len(request.system.encode()) + len(request.prompt.encode())
    input_tokens = prompt_bytes // _BYTES_PER_TOKEN + 1
    usd = profile.cost_usd(input_tokens, request.max_output_tokens)
    return calls * usd, calls * (input_tokens + request.max_output_tokens)


class Worker(Protocol):
    """A model endpoint that does sub-tasks."""

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task.

        Raises:
            WorkerError: The most specific type; an error of an SDK never passes.
        """

    async def aclose(self) -> None:
        """Give connections back."""


@runtime_checkable
class StreamingWorker(Worker, Protocol):
    """A worker that can give its answer in pieces."""

    def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        """Do one sub-task: pieces of text as they come, then the whole output as the last item.

        An iteration that is left early must be closed (`contextlib.aclosing`).

        Raises:
            WorkerError: As `run`; pieces may have been given before.
        """


class Planner(Protocol):
    """Turns an instruction into a plan."""

    async def plan(self, instruction: Instruction, *, execution_id: str | None = None) -> Plan:
        """Return a plan that the engine can run.

        Args:
            instruction: What is asked.
            execution_id: The live execution that the plan is for; without one nothing is left to chance.
        """

    async def choose_workers(self, instruction: Instruction, plan: Plan, *, execution_id: str | None = None) -> Plan:
        """Return a plan of the same graph whose workers are chosen anew.

        Args:
            instruction: What is asked now.
            plan: A plan that was good before.
            execution_id: As for `plan`.
        """
