"""Task types and workers as described things: what the planner chooses from."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestai.contracts.base import Record
from orchestai.errors import InputError


class Modality(StrEnum):
    """What kind of call a sub-task needs."""

    CHAT = "chat"
    VISION = "vision"
    AUDIO = "audio"
    EMBEDDING = "embedding"


class TaskType(Record):
    """A kind of sub-task, open to new members: the planner reads the description, not the name.

    Attributes:
        name: Identifier.
        description: What such a sub-task does, in a sentence or two.
        modality: The call that it needs.
        keywords: Words and phrases by which the rules planner finds it.
        max_output_tokens: The most that an answer may take; also the basis of the cost estimate.
    """

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    modality: Modality = Modality.CHAT
    keywords: tuple[str, ...] = ()
    max_output_tokens: int = Field(default=256, ge=1)


class SimulationProfile(Record):
    """How a simulated worker behaves.

    Attributes:
        quality: Probability that an answer is the accepted one, by task type; `default` for the rest.
        latency_ms: Median time to answer.
        latency_sigma: Spread of the log-normal latency.
        error_rate: Share of calls answered with 500.
        rate_limit_rate: Share of calls answered with 429.
    """

    quality: dict[str, float] = Field(default_factory=lambda: {"default": 0.8})
    latency_ms: float = Field(default=50.0, ge=0)
    latency_sigma: float = Field(default=0.2, ge=0)
    error_rate: float = Field(default=0.0, ge=0, le=1)
    rate_limit_rate: float = Field(default=0.0, ge=0, le=1)

    @field_validator("quality")
    @classmethod
    def _check_quality(cls, quality: dict[str, float]) -> dict[str, float]:
        for task_type, value in quality.items():
            if not 0 <= value <= 1:
                raise ValueError(f"quality[{task_type!r}] must be between 0 and 1, got {value}.")
        return quality

    def quality_of(self, task_type: str) -> float:
        """Probability that this worker does `task_type` well."""
        return self.quality.get(task_type, self.quality.get("default", 0.0))


class ArmSpec(Record):
    """A worker that is made of others, or of none.

    Attributes:
        role: `executor` runs the code that it is given in a sandbox; `coder` lets its one member write code,
            runs it there and lets it be mended; `retriever` finds passages in the supplied text;
            `swarm` asks all its members and gives their common answer.
        members: Workers that it calls, by name.
        method: How a swarm finds its answer.
        quorum: Answers that are enough for a swarm; null waits for all.
        deadline_s: Time after which what a swarm has must do.
    """

    role: Literal["executor", "coder", "retriever", "swarm"]
    members: tuple[str, ...] = ()
    method: Literal["vote", "weighted_vote", "average"] = "vote"
    quorum: int | None = Field(default=None, ge=1)
    deadline_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        least, most = {"coder": (1, 1), "swarm": (2, 32)}.get(self.role, (0, 0))
        if not least <= len(self.members) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ValueError(f"an arm with role {self.role!r} has {wanted} `members`, got {len(self.members)}.")
        if len(set(self.members)) != len(self.members):
            raise ValueError(f"`members` must differ, got {', '.join(self.members)}.")
        return self


class WorkerProfile(Record):
    """A model endpoint: its capability, price and speed facts.

    Attributes:
        name: Identifier.
        description: What it is good at, in words; the planner reads this.
        model: Name that the endpoint knows it by.
        base_url: OpenAI-format endpoint; null means the endpoint that `orchestai up` starts
            (the packaged model, or the simulator when `simulation` is set).
        api_key_env: Environment variable that holds the key.
        modalities: Calls that it answers.
        task_types: Task types that it is for; empty means all that need such calls.
        input_usd_per_mtok: Dollars a million input tokens.
        output_usd_per_mtok: Dollars a million output tokens.
        typical_latency_ms: What to expect of one answer.
        context_tokens: The most that it reads.
        max_concurrency: Calls at a time; null means no limit.
        timeout_s: Time allowed for one call.
        external_effects: Whether a call changes something outside (sends, books, pays): such a call is made at
            most once, and a person may be asked first.
        simulation: Set for workers that the simulator plays.
        arm: Set for workers that are made of others.
    """

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    model: str = Field(min_length=1)
    base_url: str | None = None
    api_key_env: str | None = None
    modalities: tuple[Modality, ...] = (Modality.CHAT,)
    input_usd_per_mtok: float = Field(default=0.0, ge=0)
    output_usd_per_mtok: float = Field(default=0.0, ge=0)
    typical_latency_ms: float = Field(default=1000.0, ge=0)
    context_tokens: int = Field(default=8192, ge=1)
    max_concurrency: int | None = Field(default=None, ge=1)
    timeout_s: float = Field(default=60.0, gt=0)
    external_effects: bool = False
    simulation: SimulationProfile | None = None
    task_types: tuple[str, ...] = ()
    arm: ArmSpec | None = None

    @property
    def simulated(self) -> bool:
        """Whether the answers come from the simulator and not from a model."""
        return self.simulation is not None

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        """Price of one call in dollars."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6


class TaskCatalog(Record):
    """The task types that a planner may use, in a fixed order.

    Attributes:
        types: The task types.
        links: Pairs of names; what the first type makes, the second can use. Empty where nobody says.
    """

    types: tuple[TaskType, ...]
    links: tuple[tuple[str, str], ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        _check_unique("task type", [task_type.name for task_type in self.types])
        known = set(self.names)
        for pair in self.links:
            for name in pair:
                if name not in known:
                    raise ValueError(f"`links` names {name!r}, which is no task type of this catalog.")
        return self

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, name: str) -> TaskType:
        """Return the task type called `name`.

        Raises:
            InputError: There is none.
        """
        for task_type in self.types:
            if task_type.name == name:
                return task_type
        raise InputError(f"Unknown task type {name!r}.", remedy=f"Known: {', '.join(self.names)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(task_type.name for task_type in self.types)

    def index(self, name: str) -> int:
        """Position of `name`, which is its id in tensors and training data."""
        return self.names.index(self[name].name)


class WorkerCatalog(Record):
    """The workers that a plan may use, in a fixed order."""

    workers: tuple[WorkerProfile, ...]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        _check_unique("worker", [worker.name for worker in self.workers])
        return self

    def __len__(self) -> int:
        return len(self.workers)

    def profiles(self) -> Iterator[WorkerProfile]:
        """Go through the workers in order."""
        return iter(self.workers)

    def __getitem__(self, name: str) -> WorkerProfile:
        """Return the worker called `name`.

        Raises:
            InputError: There is none.
        """
        for worker in self.workers:
            if worker.name == name:
                return worker
        raise InputError(f"Unknown worker {name!r}.", remedy=f"Known: {', '.join(self.names)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(worker.name for worker in self.workers)

    def index(self, name: str) -> int:
        """Position of `name`, which is its id in tensors and training data."""
        return self.names.index(self[name].name)

    def only_simulated(self) -> WorkerCatalog:
        """Return the catalog of the workers that the simulator plays."""
        return WorkerCatalog(workers=tuple(worker for worker in self.workers if worker.simulated))

    def able(self, modality: Modality) -> tuple[WorkerProfile, ...]:
        """The workers that answer calls of `modality`."""
        return tuple(worker for worker in self.workers if modality in worker.modalities)


def _check_unique(kind: str, names: list[str]) -> None:
    if not names:
        raise ValueError(f"The catalog must have at least one {kind}.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"The {kind} {name!r} is defined {names.count(name)} times; names must differ.")
