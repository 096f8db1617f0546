"""Group commit for SQLite: many callers, one writing thread, one sync for all that wait."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestai.errors import OrchestAIError, StorageError

Write = Callable[[sqlite3.Connection], Any]

_BUSY_TIMEOUT_S = 30.0
_MOST_AT_ONCE = 512
_LINGER_S = 0.005
"""How long writes that nobody waits for may gather before they are committed."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database in WAL mode, with every commit on disk before it returns.

    Raises:
        StorageError: It cannot be opened.
    """
    try:
        uri = (
            f"file:{path.resolve().as_posix().replace('?', '%3f').replace('#', '%23')}{'?mode=ro' if read_only else ''}"
        )
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise storage_error(path, error) from error
    return connection


def storage_error(path: Path, error: sqlite3.Error) -> StorageError:
    """Say what SQLite's error means for the user."""
    return StorageError(
        f"The state of executions cannot be written or read: {error}.",
        path=str(path),
        remedy="Free space on its disk, check its permissions, or choose another home with ORCHESTAI_HOME.",
    )


class GroupCommits:
    """Runs writes one after another in a thread of its own; each future is done when its write is on disk.

    A write is a function of the connection and must be a single statement, or harmless if it stops half-way:
    one that raises is left out of the transaction it stands in, and the others stay.

    Args:
        path: The database, which exists.
        on_commit: Told the number of writes and the seconds of each commit.
    """

    def __init__(self, path: Path, *, on_commit: Callable[[int, float], None] | None = None) -> None:
        self._path = path
        self._on_commit = on_commit
        self._waiting: deque[tuple[Write, Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._urgent = False
        self._closed = False

    def submit(self, write: Write, *, urgent: bool = True) -> Future[Any]:
        """Queue a write.

        Args:
            write: What to do.
            urgent: Whether somebody waits for it; others gather for some milliseconds, and none overtakes another.

        Raises:
            StorageError: The store is closed.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # what was handed over is written: no caller can cancel it
        with self._wake:
            if self._closed:
                raise StorageError("The state of executions is closed.", path=str(self._path), remedy="Open it again.")
            first = not self._waiting
            self._waiting.append((write, future))
            self._urgent |= urgent
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="orchestai-state", daemon=True)
                self._thread.start()
            if first or urgent:  # every wake-up takes the interpreter from whoever works
                self._wake.notify()
        return future

    def close(self) -> None:
        """Write what waits; closing twice is allowed."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            with self._wake:
                while not self._waiting and not self._closed:
                    self._wake.wait()
                gathered_by = time.monotonic() + _LINGER_S
                while not self._urgent and not self._closed and (left := gathered_by - time.monotonic()) > 0:
                    self._wake.wait(left)
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
                self._urgent = bool(self._waiting)
            if not batch:
                break
            try:
                connection = connection or connect(self._path)
            except StorageError as error:
                for _, future in batch:
                    future.set_exception(error)
                continue
            self._commit(connection, batch)
        if connection is not None:
            connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list[tuple[Write, Future[Any]]]) -> None:
        results: list[tuple[Future[Any], Any]] = []
        started = time.perf_counter()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write, future in batch:
                try:
                    results.append((future, write(connection)))
                except OrchestAIError as error:  # a refusal of ours: the statement did nothing
                    results.append((future, error))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if len(batch) > 1:
                # One write may be too much for the disk and the others not: each gets its own answer.
                for entry in batch:
                    self._commit(connection, [entry])
            else:
                batch[0][1].set_exception(storage_error(self._path, error))
            return
        if self._on_commit is not None:
            self._on_commit(len(batch), time.perf_counter() - started)
        for future, value in results:
            if isinstance(value, OrchestAIError):
                future.set_exception(value)
            else:
                future.set_result(value)
