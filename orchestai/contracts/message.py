"""The envelope of everything that components say to each other."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, JsonValue, field_validator

from orchestai.contracts.base import Record
from orchestai.contracts.instruction import Budget

MessageType = Literal["task_request", "task_response", "artifact", "verdict", "event", "error", "cancel"]


class MessageBudget(Record):
    """What the receiver may use on the sender's behalf; null means no limit.

    Attributes:
        max_tokens: Tokens.
        max_time_seconds: Seconds.
        max_usd: Dollars.
    """

    max_tokens: int | None = Field(default=None, ge=0)
    max_time_seconds: float | None = Field(default=None, gt=0)
    max_usd: float | None = Field(default=None, ge=0)

    @classmethod
    def of(cls, budget: Budget) -> Self:
        """Return the budget of an instruction as a message carries it."""
        return cls(max_tokens=budget.tokens, max_time_seconds=budget.seconds, max_usd=budget.usd)


class MessagePayload(Record):
    """What a message says.

    Attributes:
        task_id: The task that it is about.
        action: What is to be done, or was done.
        context: Material, as JSON.
        constraints: Conditions that must be met.
        budget: What the receiver may use.
        capabilities: What the receiver may do on the sender's behalf.
    """

    task_id: str = ""
    action: str = ""
    context: dict[str, JsonValue] = Field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    budget: MessageBudget = MessageBudget()
    capabilities: frozenset[str] = frozenset()

    @property
    def content_sha256(self) -> str:
        """Hash of the payload, the same wherever it is computed."""
        return hashlib.sha256(_canonical(self).encode()).hexdigest()


class MessageProvenance(Record):
    """Where a message comes from.

    Attributes:
        created_by: Who wrote the payload.
        sources: Messages and artifacts that went into it, by id.
        content_sha256: Hash of the payload as it was written.
    """

    created_by: str = Field(min_length=1)
    sources: tuple[str, ...] = ()
    content_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Message(Record):
    """One message, in the fields of the OctoLLM data-flow document.

    On the wire (`to_wire`, `from_wire`) the sender is called `from`, which is no name in Python.

    Attributes:
        message_id: Its identity.
        timestamp: When it was written, in UTC.
        sender: Who sends it; `from` on the wire.
        to: Who is to receive it.
        message_type: What kind of message it is.
        payload: What it says.
        trace_id: The execution that it belongs to.
        parent_message_id: The message that it answers or follows from.
        provenance: Where it comes from; direct channels demand it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    message_id: str = Field(default_factory=lambda: str(uuid.uuid4()), min_length=1, max_length=128)
    timestamp: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    sender: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)
    message_type: MessageType = "task_request"
    payload: MessagePayload = MessagePayload()
    trace_id: str = Field(default_factory=lambda: str(uuid.uuid4()), min_length=1, max_length=128)
    parent_message_id: str | None = None
    provenance: MessageProvenance | None = None

    @field_validator("timestamp")
    @classmethod
    def _to_utc(cls, timestamp: datetime) -> datetime:
        return timestamp.astimezone(UTC)

    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON-ready data."""
        wire: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        wire["payload"]["capabilities"] = sorted(self.payload.capabilities)
        return wire

    @classmethod
    def from_wire(cls, data: bytes | str | dict[str, Any]) -> Self:
        """Read a message; a mapping or JSON text.

        Raises:
            ValidationError: It is not a message.
        """
        return cls.model_validate(data) if isinstance(data, dict) else cls.model_validate_json(data)


def _canonical(payload: MessagePayload) -> str:
    data = payload.model_dump(mode="json")
    data["capabilities"] = sorted(payload.capabilities)
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
