"""What people and judges say of executions that are over: lines of their own, beside the log, with the same safety.

A label never changes a line of the log. It overrides what the acceptance checks said where data are prepared for
training; of several labels of one execution the newest holds.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from orchestai.contracts.base import Record
from orchestai.logs.codec import LineError, decode_line, encode_line
from orchestai.logs.files import storage_error
from orchestai.logs.segments import CLOSED, OPEN, all_segments, list_days

_log = logging.getLogger(__name__)

FEEDBACK_FOLDER = "feedback"
"""Folder of the feedback in that of the execution logs, whose readers look at folders of days only."""
GOOD_FROM = 0.5
"""Scores from here on are good."""

Source = Literal["human", "judge"]


class FeedbackRecord(Record):
    """One label of one execution.

    Attributes:
        timestamp: When it was given, UTC.
        execution_id: Which execution.
        success: Whether the answer was good.
        score: How good, between 0 and 1, where somebody says.
        note: Why, in words.
        source: Who judged: a person, or a judge among the workers.
        by: Name of who judged, where it is known.
        tenant: Whose execution it was.
        id: Identity of the label.
        writer: Host and process that wrote the line.
        schema_version: Version of this format.
    """

    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    execution_id: str = Field(min_length=1, max_length=200)
    success: bool
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    note: str = Field(default="", max_length=4000)
    source: Source = "human"
    by: str = Field(default="", max_length=200)
    tenant: str = "default"
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    writer: str = ""
    schema_version: Literal[1] = 1

    @model_validator(mode="before")
    @classmethod
    def _score_decides(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("success") is None and isinstance(fields.get("score"), int | float):
            return {**fields, "success": fields["score"] >= GOOD_FROM}
        return fields

    def to_line(self) -> bytes:
        """Return the label as a line with its CRC, without the line break."""
        return encode_line(self.model_dump(mode="json"))

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the label that a line holds.

        Raises:
            LineError: The line is no label.
        """
        fields = decode_line(line, crc_required=True)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise LineError("schema", f"{error.error_count()} wrong fields") from error


class Label(NamedTuple):
    """What holds for one execution."""

    success: bool
    score: float | None
    source: Source
    timestamp: datetime


def feedback_of(directory: Path) -> Path:
    """Return the folder of the feedback on the executions logged in `directory`."""
    return directory / FEEDBACK_FOLDER


def read_feedback(directory: Path) -> Iterator[FeedbackRecord]:
    """Yield all labels, each once, in no order; unreadable lines are named in the log of this process.

    Args:
        directory: The folder of the feedback.

    Raises:
        StorageError: A file cannot be read.
    """
    seen: set[str] = set()
    for day in list_days(directory):
        for path in all_segments(directory, day):
            for record in _records(path):
                if record.id not in seen:
                    seen.add(record.id)
                    yield record


def labels_of(directory: Path) -> dict[str, Label]:
    """Return the label that holds for each execution: the newest.

    Args:
        directory: The folder of the feedback; it need not exist.

    Raises:
        StorageError: A file cannot be read.
    """
    newest: dict[str, FeedbackRecord] = {}
    for record in read_feedback(directory):
        known = newest.get(record.execution_id)
        if known is None or (record.timestamp, record.id) > (known.timestamp, known.id):
            newest[record.execution_id] = record
    return {
        execution: Label(record.success, record.score, record.source, record.timestamp)
        for execution, record in sorted(newest.items())
    }


def _records(path: Path) -> Iterator[FeedbackRecord]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        if path.suffix != OPEN:
            raise storage_error("read", path, error) from error
        content = path.with_suffix(CLOSED).read_bytes()  # closed since it was listed
    except OSError as error:
        raise storage_error("read", path, error) from error
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1] if path.suffix == OPEN else lines, start=1):
        if not line.strip():
            continue
        try:
            yield FeedbackRecord.from_line(line)
        except LineError as error:
            _log.warning("%s:%d is no feedback: %s", path, number, error)
