"""What an arm is: a worker with a role, standing wherever a worker stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, Self

from orchestai.contracts import Modality, Worker, WorkerOutput, WorkerProfile
from orchestai.contracts.base import Record

Role = Literal["planner", "retriever", "coder", "executor", "judge", "swarm"]


class Arm(Worker, Protocol):
    """A worker with a role."""

    @property
    def role(self) -> Role:
        """What it is there for."""

    @property
    def max_calls(self) -> int:
        """Calls to models that one request may take; a budget reserves for all of them."""


class Usage(Record):
    """What calls to models took.

    Attributes:
        cost_usd: Dollars.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        calls: Number of calls.
    """

    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0

    @classmethod
    def of(cls, output: WorkerOutput) -> Self:
        """Return what one answer took; that of an arm counts as the calls it made itself."""
        return cls(
            cost_usd=output.cost,
            input_tokens=int(output.metadata.get("input_tokens") or 0),
            output_tokens=int(output.metadata.get("output_tokens") or 0),
            calls=int(output.metadata.get("calls", 1)),
        )

    @classmethod
    def total(cls, parts: Iterable[Usage]) -> Self:
        """Return the sum."""
        known = list(parts)
        return cls(
            cost_usd=sum(part.cost_usd for part in known),
            input_tokens=sum(part.input_tokens for part in known),
            output_tokens=sum(part.output_tokens for part in known),
            calls=sum(part.calls for part in known),
        )

    @property
    def metadata(self) -> dict[str, int]:
        """The counts as a `WorkerOutput` carries them."""
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "calls": self.calls}


def local_profile(name: str, description: str, *, typical_latency_ms: float, **facts: object) -> WorkerProfile:
    """Return the profile of an arm that works on this machine and costs nothing."""
    return WorkerProfile.model_validate(
        {
            "name": name,
            "description": description,
            "model": name,
            "modalities": (Modality.CHAT,),
            "typical_latency_ms": typical_latency_ms,
            **facts,
        }
    )


def profile_around(worker: Worker, name: str, description: str) -> WorkerProfile:
    """Return the profile of an arm that asks `worker`: its price and limits under another name."""
    return worker.profile.model_copy(update={"name": name, "description": description, "max_concurrency": None})


def confidence_of(output: WorkerOutput, default: float = 0.5) -> float:
    """Return the confidence that a worker gave, between 0 and 1, or `default` where it gave none."""
    value = output.metadata.get("confidence")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return default
    return min(max(float(value), 0.0), 1.0)
