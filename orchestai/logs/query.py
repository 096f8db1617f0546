"""Looking executions up, those of running writers included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestai.errors import InputError
from orchestai.logs.quarantine import BadLine
from orchestai.logs.reader import iter_segment
from orchestai.logs.record import ExecutionLogRecord
from orchestai.logs.segments import all_segments, is_plain, list_days


def read_executions(
    directory: Path,
    *,
    failed: bool = False,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[ExecutionLogRecord]:
    """Return executions, the newest first, each once.

    Args:
        directory: The execution logs.
        failed: Only those whose answer was not accepted.
        since: Only those that ended then or later; without zone it is UTC.
        limit: The most to return.

    Raises:
        InputError: `limit` is not positive.
        StorageError: A file cannot be read.
    """
    if limit is not None and limit < 1:
        raise InputError(f"`limit` must be >= 1, got {limit}.", remedy="Leave it out for no limit.")
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    found: dict[tuple[str, int, int], ExecutionLogRecord] = {}
    for day in reversed(list_days(directory)):
        # A line is written after its execution ended, so no earlier folder holds a later execution.
        if since is not None and day < since.astimezone(UTC).date():
            break
        for path in all_segments(directory, day):
            for record in _records(path):
                if (since is None or record.timestamp >= since) and not (failed and record.success):
                    found.setdefault(record.key, record)
        if limit is not None and len(found) >= limit:
            break
    newest = sorted(found.values(), key=lambda record: (record.timestamp, record.key), reverse=True)
    return newest[:limit]


def find_execution(directory: Path, execution_id: str) -> ExecutionLogRecord | None:
    """Return the last record of an execution, or None if there is none.

    Args:
        directory: The execution logs.
        execution_id: The id, or enough of its beginning that no other begins so.

    Raises:
        InputError: Several executions begin so.
        StorageError: A file cannot be read.
    """
    found: dict[str, ExecutionLogRecord] = {}
    for day in list_days(directory):
        for path in all_segments(directory, day):
            for record in _records(path, containing=execution_id):
                if record.execution_id.startswith(execution_id):
                    known = found.get(record.execution_id)
                    if known is None or known.key < record.key:
                        found[record.execution_id] = record
    if execution_id in found:
        return found[execution_id]
    if len(found) > 1:
        some = ", ".join(sorted(found)[:5])
        raise InputError(
            f"{len(found)} executions begin with {execution_id!r}: {some}{', …' if len(found) > 5 else ''}.",
            remedy="Give more of the id.",
        )
    return next(iter(found.values()), None)


def _records(path: Path, containing: str = "") -> Iterator[ExecutionLogRecord]:
    # Plain lines do not hold their ids, and JSON may escape characters: only simple words can be searched.
    searchable = containing.isascii() and containing.replace("-", "").replace("_", "").isalnum()
    needle = containing.encode() if searchable and not is_plain(path) else b""
    for item in iter_segment(path, containing=needle):
        if not isinstance(item, BadLine):
            yield item
