"""What callers may send."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from orchestai.contracts import AcceptanceCheck, Budget, Instruction, Priority
from orchestai.contracts.instruction import MAX_INSTRUCTION_CHARS
from orchestai.prompts.library import MEDIA
from orchestai.service.problems import ProblemError

MAX_MATERIAL_CHARS = 4 * 2**20


class Body(BaseModel):
    """A body whose every field is known and has the type that it says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _check_plain(text: str) -> str:
    for char in text:
        if unicodedata.category(char) == "Cc" and char not in "\n\r\t":
            raise ValueError(f"must hold no control characters, found U+{ord(char):04X}")
    return text


Plain = Annotated[str, AfterValidator(_check_plain)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
InputName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


class RequestBudget(Body):
    """What the execution may use; null means no limit.

    Attributes:
        usd: Dollars.
        tokens: Tokens, read and written.
        seconds: Seconds.
    """

    usd: float | None = Field(default=None, ge=0, le=1e6)
    tokens: int | None = Field(default=None, ge=0, le=10**9)
    seconds: float | None = Field(default=None, gt=0, le=86_400)


class InstructionFields(Body):
    """What belongs to an instruction beside its text and material.

    Attributes:
        constraints: Conditions that the answer must meet, in words.
        priority: How urgent it is.
        budget: Limits.
        session: Conversation that it belongs to.
        idempotency_key: Two requests of a tenant with the same key are one; also as the header Idempotency-Key.
        acceptance: Checks that a machine applies to the answer.
    """

    constraints: list[Annotated[Plain, StringConstraints(min_length=1, max_length=2000)]] = Field(
        default=[], max_length=64
    )
    priority: Priority = "normal"
    budget: RequestBudget = RequestBudget()
    session: Name | None = None
    idempotency_key: Name | None = None
    acceptance: list[AcceptanceCheck] = Field(default=[], max_length=32)


class InstructionRequest(InstructionFields):
    """The body of `POST /v1/instructions`.

    Attributes:
        text: The instruction itself.
        inputs: Material by name: text, or `image...` and `audio...` as data URLs.
        stream: Send server-sent events; also by `Accept: text/event-stream`.
        wait: Answer with the result; false answers at once with where it will be.
    """

    text: str = Field(min_length=1, max_length=MAX_INSTRUCTION_CHARS)
    inputs: dict[InputName, str] = Field(default={}, max_length=64)
    stream: bool = False
    wait: bool = True


class Decision(Body):
    """The optional body of approvals.

    Attributes:
        comment: Why; kept beside the execution.
    """

    comment: Annotated[Plain, StringConstraints(max_length=500)] = ""


class Feedback(Body):
    """What somebody says of an execution that is over; a verdict or a score.

    Attributes:
        good: Whether the answer was good.
        score: How good, between 0 and 1; from 0.5 on it is good.
        note: Why.
        source: Whether a person or a judge among the models says so.
    """

    good: bool | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    note: Annotated[Plain, StringConstraints(max_length=4000)] = ""
    source: Literal["human", "judge"] = "human"


def to_instruction(
    text: str, inputs: dict[str, str], fields: InstructionFields, *, tenant: str, header_key: str | None
) -> Instruction:
    """Make the instruction of a request.

    Raises:
        ProblemError: An input is a path or an address, or the two idempotency keys differ.
        InstructionError: The text cannot be an instruction.
    """
    for name, value in inputs.items():
        _check_input(name, value)
    key = fields.idempotency_key
    if header_key is not None:
        _check_key(header_key)
        if key is not None and key != header_key:
            raise ProblemError(
                400,
                "invalid_request",
                f"The header Idempotency-Key says {header_key!r} and `idempotency_key` says {key!r}.",
                remedy="Send one of them.",
            )
        key = header_key
    return Instruction(
        text=text,
        inputs=inputs,
        constraints=tuple(fields.constraints),
        priority=fields.priority,
        budget=Budget(**fields.budget.model_dump()),
        tenant=tenant,
        session=fields.session,
        idempotency_key=key,
        acceptance=tuple(fields.acceptance),
    )


def _check_input(name: str, value: str) -> None:
    kind = next((kind for kind in MEDIA if name.startswith(kind)), None)
    if kind is not None:
        if not value.startswith(f"data:{kind}/"):
            raise ProblemError(
                400,
                "not_a_data_url",
                f"The input {name!r} must be a data URL (data:{kind}/...;base64,...), got {value[:40]!r}.",
                remedy="Paths and addresses are not read over HTTP: send the content itself.",
                errors=[{"field": f"inputs.{name}", "message": "must be a data URL."}],
            )
    elif len(value) > MAX_MATERIAL_CHARS:
        raise ProblemError(
            400,
            "input_too_long",
            f"The input {name!r} has {len(value):,} characters; {MAX_MATERIAL_CHARS:,} are allowed.",
            errors=[{"field": f"inputs.{name}", "message": "too long."}],
        )


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= 255 or not all("\x21" <= char <= "\x7e" for char in key):
        raise ProblemError(
            400,
            "invalid_request",
            "The header Idempotency-Key must have 1 to 255 printable characters without spaces.",
            remedy="A UUID is a good key.",
        )
