"""The execution logger: a record is on disk when `log` returns, whatever happens next."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from orchestai.config import LogsConfig
from orchestai.errors import DataError, StorageError
from orchestai.logs.files import make_directory, storage_error
from orchestai.logs.reader import MAX_LINE_BYTES
from orchestai.logs.segments import Segment, repair_orphans, writer_name

_log = logging.getLogger(__name__)

_Entry = tuple[bytes, "Future[None]"]


def _now() -> datetime:
    return datetime.now(UTC)


class Line(Protocol):
    """What is written: executions, or what somebody says of them."""

    @property
    def execution_id(self) -> str:
        """The execution that it is about."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return it with some fields changed."""

    def to_line(self) -> bytes:
        """Return it as a line with its CRC, without the line break."""


class LogWatch(NamedTuple):
    """Who is told of the writing.

    Attributes:
        written: Records, bytes and seconds of a group that is on disk.
        failed: A group could not be written as a whole.
    """

    written: Callable[[int, int, float], None]
    failed: Callable[[], None]


class ExecutionLogger:
    """Writes execution records to segments of this process; any number of threads and tasks may share one.

    One thread writes: it takes all records that wait, writes them at once and syncs once for all of them
    (group commit). It also closes the segment at its size, its age and midnight UTC, so that readers of
    closed segments never wait for the next record. A forked child gets a segment and a thread of its own.

    Args:
        directory: The execution logs.
        config: Size and age at which a segment is closed.
        quarantine: Where torn lines of dead writers go; `quarantine` beside the logs if not given.
        clock: Tells the time in UTC; it decides the folder.
        watch: Who is told of the writing.

    Raises:
        StorageError: The directory cannot be made or written to.
    """

    def __init__(
        self,
        directory: Path,
        config: LogsConfig | None = None,
        *,
        quarantine: Path | None = None,
        clock: Callable[[], datetime] = _now,
        watch: LogWatch | None = None,
    ) -> None:
        self._watch = watch
        self.directory = directory
        self.config = config or LogsConfig()
        self._clock = clock
        try:
            make_directory(directory)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise storage_error("write to", directory, error) from error
        try:
            repair_orphans(directory, quarantine)
        except StorageError as error:  # somebody else's file must not keep us from logging
            _log.warning("a dead writer's segment stays as it is: %s", error)
        self._reset()
        _close_in_children(self)
        atexit.register(self._close_at_exit)

    def _reset(self) -> None:
        self._waiting: deque[_Entry] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._segment: Segment | None = None
        self._closes_at = 0.0
        self._numbers = count(1)
        self._closed = False
        self._seal_error: StorageError | None = None

    def log(self, record: Line) -> None:
        """Write `record` and return when it is on disk.

        Raises:
            StorageError: The disk refuses, or the logger is closed; nothing of the record was written.
            DataError: The record cannot be a line.
        """
        self._submit(record).result()

    async def alog(self, record: Line) -> None:
        """Write `record` and return when it is on disk; see `log`.

        A caller that is cancelled meanwhile does not take the record back.
        """
        await asyncio.shield(asyncio.wrap_future(self._submit(record)))

    def close(self) -> None:
        """Write what waits and close the segment; closing twice is allowed.

        Raises:
            StorageError: The segment cannot be renamed; its records are safe, the next start closes it.
        """
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        atexit.unregister(self._close_at_exit)
        error, self._seal_error = self._seal_error, None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, record: Line) -> Future[None]:
        line = record.model_copy(update={"writer": writer_name()}).to_line() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"Execution {record.execution_id} takes {len(line):,} bytes; {MAX_LINE_BYTES:,} are allowed.",
                remedy="Keep large outputs in files, or turn logs.full_planner_outputs off.",
            )
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # what was handed over is written: no caller can cancel it
        with self._wake:
            if self._closed:
                raise StorageError(
                    "The execution logger is closed.",
                    path=str(self.directory),
                    remedy="Open a new ExecutionLogger.",
                )
            self._waiting.append((line, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="orchestai-log", daemon=True)
                self._thread.start()
            self._wake.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closed and not self._is_due():
                    self._wake.wait(self._patience())
                batch = self._take()
                done = self._closed and not batch and not self._waiting
            if done or self._is_due():
                self._seal()
            if done:
                return
            if batch:
                self._write_all(batch)

    def _take(self) -> list[_Entry]:
        """Take what waits, up to the room left in a segment."""
        room = self.config.segment_bytes - (self._segment.size if self._segment else 0)
        batch = []
        while self._waiting and room > 0:
            entry = self._waiting.popleft()
            batch.append(entry)
            room -= len(entry[0])
        return batch

    def _write_all(self, batch: list[_Entry]) -> None:
        lines = b"".join(line for line, _ in batch)
        started = time.perf_counter()
        try:
            self._write(lines)
        except OSError:
            if self._watch is not None:
                self._watch.failed()
            # One record may be too much for the disk and the others not: each gets its own answer.
            for line, future in batch:
                self._write_one(line, future)
        else:
            if self._watch is not None:
                self._watch.written(len(batch), len(lines), time.perf_counter() - started)
            for _, future in batch:
                future.set_result(None)
        if self._is_due():
            self._seal()

    def _write_one(self, line: bytes, future: Future[None]) -> None:
        try:
            self._write(line)
        except OSError as error:
            where = self._segment.path if self._segment else self.directory
            future.set_exception(storage_error("write to", where, error))
        else:
            future.set_result(None)

    def _write(self, lines: bytes) -> None:
        if self._segment is None:
            self._segment = Segment(self.directory, self._today(), start=next(self._numbers))
            self._closes_at = time.monotonic() + self.config.segment_seconds
        try:
            self._segment.append(lines)
        except OSError:
            if self._segment.broken:
                self._segment.abandon()
                self._segment = None
            raise

    def _is_due(self) -> bool:
        segment = self._segment
        return segment is not None and (
            segment.size >= self.config.segment_bytes
            or time.monotonic() >= self._closes_at
            or segment.day != self._today()
        )

    def _patience(self) -> float | None:
        """Seconds until the segment is due; None if there is none."""
        if self._segment is None:
            return None
        now = self._clock()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
        left = min(self._closes_at - time.monotonic(), (midnight - now).total_seconds())
        return max(left, 0.0)

    def _today(self) -> date:
        return self._clock().astimezone(UTC).date()

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.seal()
        except OSError as error:
            self._seal_error = storage_error("close", segment.path, error)
            _log.warning("%s The next start closes the segment.", self._seal_error)

    def _close_at_exit(self) -> None:
        with suppress(StorageError):  # it has been logged, and the next start closes the segment
            self.close()

    def _after_fork(self) -> None:
        """Let go of the parent's segment in a forked child; the parent keeps its lock."""
        segment, closed = self._segment, self._closed
        self._reset()
        self._closed = closed
        if segment is not None:
            segment.abandon()


_loggers: weakref.WeakSet[ExecutionLogger] = weakref.WeakSet()
_hooked = False


def _close_in_children(logger: ExecutionLogger) -> None:
    global _hooked
    _loggers.add(logger)
    if not _hooked:  # a hook cannot be taken back, so there is one for all loggers
        os.register_at_fork(after_in_child=_after_fork)
        _hooked = True


def _after_fork() -> None:
    for logger in list(_loggers):
        logger._after_fork()
