"""What the user asks for."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, field_validator

from orchestai.contracts.acceptance import AcceptanceCheck
from orchestai.contracts.base import Record
from orchestai.errors import InstructionError

MAX_INSTRUCTION_CHARS = 32_768

Priority = Literal["low", "normal", "high"]


class Budget(Record):
    """What an execution may use, and what its plan must promise; null means no limit.

    Attributes:
        usd: Most dollars. A plan that may cost more is refused, and no call is made that may exceed it.
        tokens: Most tokens, read and written.
        seconds: Time after which the execution is ended; what is done is kept.
        min_success: Least probability that all sub-tasks succeed, as the router expects it; the plan is then the
            cheapest that promises it.
        max_latency_s: Most seconds that the plan may be expected to take along its critical path.
    """

    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)
    min_success: float | None = Field(default=None, gt=0, le=1)
    max_latency_s: float | None = Field(default=None, gt=0)


class Instruction(Record):
    """One instruction in plain language.

    Attributes:
        id: Identity of this request; made when not given.
        text: The instruction itself, 1 to 32,768 characters.
        inputs: Material by name: `text`, or `image` / `audio` as a path or a data URL; further ones of a kind
            are called `image_2` and so on.
        constraints: Conditions that the answer must meet, in words.
        priority: How urgent it is.
        budget: Limits in dollars, tokens and seconds.
        tenant: Whose request this is.
        session: Conversation that it belongs to.
        idempotency_key: Two requests with the same key are one.
        acceptance: Checks that a machine applies to the final answer.
    """

    id: str = Field(default_factory=lambda: uuid.uuid4().hex, min_length=1, max_length=128)
    text: str
    inputs: dict[str, str] = Field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    priority: Priority = "normal"
    budget: Budget = Budget()
    tenant: str = "default"
    session: str | None = None
    idempotency_key: str | None = None
    acceptance: tuple[AcceptanceCheck, ...] = ()

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: str) -> str:
        return clean_instruction_text(text)


def planning_text(text: str, inputs: Iterable[str]) -> str:
    """Return what a planner reads: the instruction and a mark such as `[image]` for each kind of input.

    Training, measuring and planning all go through here, so that a planner sees the same form everywhere.
    """
    marks = " ".join(f"[{name}]" for name in sorted(inputs))
    return f"{text}\n{marks}" if marks else text


def clean_instruction_text(text: str) -> str:
    """Return `text` without surrounding white space, or say why it cannot be an instruction.

    Raises:
        InstructionError: It is empty, too long, or holds control characters or lone surrogates.
    """
    stripped = text.strip()
    if not stripped:
        raise InstructionError("The instruction is empty.", remedy="Say what is to be done.")
    if len(stripped) > MAX_INSTRUCTION_CHARS:
        raise InstructionError(
            f"The instruction has {len(stripped):,} characters; {MAX_INSTRUCTION_CHARS:,} are allowed.",
            remedy="Put long material into an input (--input FILE) and keep the instruction short.",
        )
    for position, char in enumerate(stripped):
        if (unicodedata.category(char) == "Cc" and char not in "\n\r\t") or "\ud800" <= char <= "\udfff":
            raise InstructionError(
                f"The instruction holds the control character U+{ord(char):04X} at position {position}.",
                remedy="Send plain text; pass binary material as a file input.",
            )
    return stripped
