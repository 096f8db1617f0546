"""One SQLite file behind one thread: operations that wait together are synced to disk together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from orchestai.errors import StorageError

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]

_BUSY_TIMEOUT_S = 30.0
_MOST_AT_ONCE = 512
_LINGER_S = 0.005
"""How long operations that nobody waits for may gather before they are committed."""


class _Entry(NamedTuple):
    operation: Operation
    future: Future[Any]
    plain: bool


class Database:
    """Runs operations one after another; each is done when its changes are on disk.

    An operation is a function of the connection and all or nothing: if it raises, what it did is undone, and the
    others of its group stay.

    Args:
        path: The file; made if it is missing.
        schema: Statements that make the tables if they are missing.
        holds: What it holds, as messages to the user begin: `The message queue`.
        on_commit: Told the number of operations and the seconds of each commit.

    Raises:
        StorageError: It cannot be opened or written.
    """

    def __init__(
        self, path: Path, schema: str, *, holds: str, on_commit: Callable[[int, float], None] | None = None
    ) -> None:
        self.path = path
        self._holds = holds
        self._on_commit = on_commit
        self._waiting: deque[_Entry] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._urgent = False
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.failure(error) from error
        connection = self.connect()
        try:
            connection.executescript(schema)
        except sqlite3.Error as error:
            raise self.failure(error) from error
        finally:
            connection.close()

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation; its changes are on disk when this returns.

        A caller that is cancelled meanwhile does not take it back.

        Raises:
            StorageError: The disk refuses, or the database is closed.
        """
        return cast(T, await asyncio.shield(asyncio.wrap_future(self.submit(operation))))

    async def look(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation that changes nothing, without asking other processes for the lock."""
        return cast(T, await asyncio.shield(asyncio.wrap_future(self._hand_over(operation, urgent=True, plain=True))))

    def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation that changes nothing at once, in this thread."""
        connection = self.connect(read_only=True)
        try:
            return operation(connection)
        except sqlite3.Error as error:
            raise self.failure(error) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Do what waits; closing twice is allowed."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def submit(self, operation: Operation, *, urgent: bool = True) -> Future[Any]:
        """Queue an operation; the future is done when its changes are on disk.

        Args:
            operation: What to do.
            urgent: Whether somebody waits for it; others gather for some milliseconds, and none overtakes another.

        Raises:
            StorageError: The database is closed.
        """
        return self._hand_over(operation, urgent=urgent, plain=False)

    def _hand_over(self, operation: Operation, *, urgent: bool, plain: bool) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # what was handed over is done: no caller can cancel it
        with self._wake:
            if self._closed:
                raise StorageError(f"{self._holds} is closed.", path=str(self.path), remedy="Open it again.")
            first = not self._waiting
            self._waiting.append(_Entry(operation, future, plain))
            self._urgent |= urgent
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"orchestai-{self.path.stem}", daemon=True)
                self._thread.start()
            if first or urgent:  # every wake-up takes the interpreter from whoever works
                self._wake.notify()
        return future

    def _work(self) -> None:
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
                connection = connection or self.connect()
            except StorageError as error:
                for entry in batch:
                    entry.future.set_exception(error)
                continue
            for entry in batch:
                if entry.plain:
                    self._look(connection, entry)
            self._commit(connection, [entry for entry in batch if not entry.plain])
        if connection is not None:
            connection.close()

    def _look(self, connection: sqlite3.Connection, entry: _Entry) -> None:
        try:
            entry.future.set_result(entry.operation(connection))
        except sqlite3.Error as error:
            entry.future.set_exception(self.failure(error))
        except Exception as error:
            entry.future.set_exception(error)

    def _commit(self, connection: sqlite3.Connection, batch: list[_Entry]) -> None:
        if not batch:
            return
        answers: list[tuple[Future[Any], Any, Exception | None]] = []
        started = time.perf_counter()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for entry in batch:
                changed = connection.total_changes
                try:
                    answers.append((entry.future, entry.operation(connection), None))
                except sqlite3.Error:
                    raise
                except Exception as error:  # a refusal, or a mistake: it alone hears of it
                    if connection.total_changes != changed:
                        raise
                    answers.append((entry.future, None, error))
            connection.execute("COMMIT")
        except Exception as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if len(batch) > 1:
                # One operation may be too much for the disk, or be undone by its own mistake, and the others not:
                # each gets its own transaction. A savepoint an operation would cost the hot path two statements.
                for entry in batch:
                    self._commit(connection, [entry])
            else:
                known = self.failure(error) if isinstance(error, sqlite3.Error) else error
                batch[0].future.set_exception(known)
            return
        if self._on_commit is not None:
            self._on_commit(len(batch), time.perf_counter() - started)
        for future, value, refusal in answers:
            if refusal is not None:
                future.set_exception(refusal)
            else:
                future.set_result(value)

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """Open a connection of the caller's own, for reading beside the writing thread.

        Raises:
            StorageError: It cannot be opened.
        """
        name = self.path.resolve().as_posix().replace("?", "%3f").replace("#", "%23")
        try:
            connection = sqlite3.connect(
                f"file:{name}{'?mode=ro' if read_only else ''}",
                uri=True,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            if not read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise self.failure(error) from error
        return connection

    def failure(self, error: Exception) -> StorageError:
        """Say what an error of SQLite's, or of the file system, means for the user."""
        return StorageError(
            f"{self._holds} cannot be written or read: {error}.",
            path=str(self.path),
            remedy="Free space on its disk, check its permissions, or choose another home with ORCHESTAI_HOME.",
        )
