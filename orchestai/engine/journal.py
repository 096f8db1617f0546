"""What an execution leaves behind while it runs, so that another process can go on with it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Protocol

from orchestai.contracts import SubtaskRecord, WorkerOutput
from orchestai.engine.store import ExecutionStore, Progress

_log = logging.getLogger(__name__)


class Journal(Protocol):
    """Where the engine notes its progress."""

    @property
    def progress(self) -> Progress:
        """What earlier attempts left."""

    async def begin(self, node: int) -> None:
        """Note that a sub-task with external effects starts; returns when that is on disk.

        Raises:
            StorageError: It cannot be written, so the sub-task must not start.
        """

    def done(self, record: SubtaskRecord, output: WorkerOutput) -> None:
        """Note what a sub-task gave; nobody waits for the disk."""


class NoJournal:
    """Forgets everything: for hosts that keep the progress themselves, and for tests."""

    progress = Progress()

    async def begin(self, node: int) -> None:
        """Do nothing."""

    def done(self, record: SubtaskRecord, output: WorkerOutput) -> None:
        """Do nothing."""


class StoreJournal:
    """Notes the progress of one execution in the store.

    Args:
        store: Where to.
        execution_id: Which execution.
        progress: What earlier attempts left.
    """

    def __init__(self, store: ExecutionStore, execution_id: str, progress: Progress | None = None) -> None:
        self._store = store
        self._id = execution_id
        self.progress = progress or Progress()

    async def begin(self, node: int) -> None:
        """Note a beginning; see `Journal`."""
        await asyncio.shield(asyncio.wrap_future(self._store.begin(self._id, node)))

    def done(self, record: SubtaskRecord, output: WorkerOutput) -> None:
        """Note an end; see `Journal`."""
        self._store.done(self._id, record, output).add_done_callback(self._report)

    def _report(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:  # the answer is not lost: after a crash the sub-task would run again
            _log.warning("execution %s: a finished sub-task was not noted: %s", self._id, error)
