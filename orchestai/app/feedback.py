"""Feedback as the hosts take it: checked against the log, and on disk before it is acknowledged."""

from __future__ import annotations

import threading

from pydantic import ValidationError

from orchestai.app.places import feedback_folder
from orchestai.config import Project
from orchestai.errors import InputError
from orchestai.logs import ExecutionLogger, find_execution
from orchestai.logs.feedback import FeedbackRecord, Source


class FeedbackDesk:
    """Writes labels of executions; opens its segment with the first of them.

    Args:
        project: Says where.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._logger: ExecutionLogger | None = None
        self._lock = threading.Lock()

    async def take(self, record: FeedbackRecord) -> None:
        """Write a label and return when it is on disk.

        Raises:
            StorageError: The disk refuses.
        """
        await self._open().alog(record)

    def close(self) -> None:
        """Close the segment, so that it is read.

        Raises:
            StorageError: It cannot be renamed; the label is safe.
        """
        with self._lock:
            logger, self._logger = self._logger, None
        if logger is not None:
            logger.close()

    def _open(self) -> ExecutionLogger:
        with self._lock:
            if self._logger is None:
                quarantine = self._project.paths.quarantine / "feedback"
                folder = feedback_folder(self._project)
                self._logger = ExecutionLogger(folder, self._project.logs, quarantine=quarantine)
            return self._logger


def give_feedback(
    project: Project,
    execution_id: str,
    *,
    success: bool | None,
    score: float | None = None,
    note: str = "",
    source: Source = "human",
    by: str = "",
) -> FeedbackRecord:
    """Label an execution of the log.

    Args:
        project: The project.
        execution_id: The id, or enough of its beginning.
        success: Whether the answer was good; null leaves it to the score.
        score: How good, between 0 and 1.
        note: Why, in words.
        source: Who judged.
        by: Name of who judged.

    Raises:
        InputError: There is no such execution, or neither `success` nor a score between 0 and 1 is given.
        StorageError: The disk refuses.
    """
    found = find_execution(project.paths.execution_logs, execution_id)
    if found is None:
        raise InputError(f"There is no execution {execution_id!r}.", remedy="`orchestai logs list` shows their ids.")
    record = make_feedback(
        found.execution_id, found.tenant, success=success, score=score, note=note, source=source, by=by
    )
    with ExecutionLogger(
        feedback_folder(project), project.logs, quarantine=project.paths.quarantine / "feedback"
    ) as logger:
        logger.log(record)
    return record


def make_feedback(
    execution_id: str,
    tenant: str,
    *,
    success: bool | None,
    score: float | None,
    note: str,
    source: Source,
    by: str,
) -> FeedbackRecord:
    """Return a label.

    Raises:
        InputError: Neither `success` nor a score between 0 and 1 is given, or the note is too long.
    """
    if success is None and score is None:
        raise InputError("Feedback needs a verdict or a score.", remedy="Say good, bad, or a score between 0 and 1.")
    try:
        fields = {"success": success, "score": score, "note": note, "source": source, "by": by}
        return FeedbackRecord.model_validate({"execution_id": execution_id, "tenant": tenant, **fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"The feedback is not valid: `{place}`: {first['msg']}, got {first['input']!r:.80}."
        ) from error
