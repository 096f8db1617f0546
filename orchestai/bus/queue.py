"""The durable queue: what was accepted is delivered at least once, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestai.bus import tables
from orchestai.bus.budgets import Budgets
from orchestai.bus.clock import boot_id, machine_seconds
from orchestai.contracts import Message, MessageBudget
from orchestai.database import Database
from orchestai.errors import MessageError, StorageError
from orchestai.telemetry.sources import QueueReading

MAX_MESSAGE_BYTES = 1 << 20
_KEEP_S = 86_400.0


@dataclass(frozen=True)
class Lease:
    """A message that is ours until `until`, on the machine's clock.

    Attributes:
        message: The message.
        attempt: Which delivery this is, from 1.
        until: When somebody else may get it.
    """

    message: Message
    attempt: int
    until: float
    _token: str
    _row: tables.Row


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be delivered.

    Attributes:
        message: The message.
        attempts: How often it was delivered.
        reason: Why it was given up.
        since: When, in Unix time.
    """

    message: Message
    attempts: int
    reason: str
    since: float


class DurableQueue:
    """Messages on disk, by receiver; any number of processes of one machine share the file.

    A message is accepted when `enqueue` returns. It is delivered in the order of acceptance within its `to`, and
    again if it is not acknowledged within `visibility_s`, at its old place: consumers must bear a repetition. After
    `max_attempts` deliveries it becomes a dead letter. An instance belongs to one event loop.

    Waiting consumers are woken by this process's own messages at once. For those of other processes one look at a
    number in the file is taken every `poll_s`, whatever the number of consumers, and none while nobody waits.

    Args:
        path: The file.
        visibility_s: How long a consumer may hold a message without a sign.
        max_attempts: Deliveries before a message is given up.
        poll_s: How soon messages of other processes are seen.
        budgets: Purses of messages that were delivered in this process, to check follow-ups against.
        clock: Seconds that all processes share.
        wall: Unix time.

    Raises:
        StorageError: The file cannot be opened or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        visibility_s: float = 30.0,
        max_attempts: int = 5,
        poll_s: float = 0.2,
        budgets: Budgets | None = None,
        clock: Callable[[], float] = machine_seconds,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if visibility_s <= 0 or max_attempts < 1 or poll_s <= 0:
            raise MessageError(
                "`visibility_s` and `poll_s` must be > 0 and `max_attempts` >= 1, "
                f"got {visibility_s:g}, {poll_s:g} and {max_attempts}."
            )
        self.visibility_s = visibility_s
        self._max_attempts = max_attempts
        self._poll_s = poll_s
        self._budgets = budgets
        self._clock = clock
        self._wall = wall
        self._database = Database(path, tables.SCHEMA, holds="The message queue")
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._version: int | None = None

    async def enqueue(self, message: Message, *, expires_s: float | None = None) -> bool:
        """Accept a message; it is on disk when this returns.

        Args:
            message: What is to be delivered to `message.to`.
            expires_s: It becomes a dead letter if nobody has taken it by then; null lets it wait for ever.

        Returns:
            Whether it is new: the same message a second time is accepted and not delivered twice.

        Raises:
            MessageError: It carries more than its parent has left, its parent is unknown, its id stands for another
                message, or it is too long.
            StorageError: It cannot be written.
        """
        now = self._now()
        fresh = await self._insert(message, now, expires_s)
        if fresh:
            self._wake(message.to)
        return fresh

    async def lease(self, to: str, *, wait_s: float | None = None, in_order: bool = False) -> Lease | None:
        """Take the next message to `to`.

        Args:
            to: The receiver.
            wait_s: How long to wait for one; null for ever, 0 not at all.
            in_order: Never while an earlier message to the same receiver is leased or held back after a failure: one
                at a time, in order, also under failures.

        Returns:
            The message, or null if none came in time.

        Raises:
            StorageError: The file cannot be read or written, or the queue was closed.
        """
        ends = None if wait_s is None else time.monotonic() + wait_s
        while True:
            # Registered before the look, so that what comes between look and wait is not missed.
            signal = self._register(to)
            try:
                claim, token = await self._claim(to, in_order)
                if claim.row is not None:
                    self._wake(to)  # there may be more, for somebody else who waits
                    return self._lease(claim.row, token)
                rest = None if ends is None else ends - time.monotonic()
                if rest is not None and rest <= 0:
                    self._pass_on(to, signal)
                    return None
                if claim.due is not None:
                    pause = max(claim.due - self._clock(), 0.0) + 0.001
                    rest = pause if rest is None else min(rest, pause)
                await asyncio.wait([signal], timeout=rest)
            except BaseException:
                self._pass_on(to, signal)
                raise
            finally:
                self._unregister(to, signal)

    async def extend(self, lease: Lease) -> Lease:
        """Hold a message for another `visibility_s` from now.

        Raises:
            LeaseLostError: It is no longer ours.
        """
        now = self._now()
        await self._database.run(lambda db: tables.extend(db, lease._row, lease._token, self.visibility_s, now))
        return Lease(lease.message, lease.attempt, now.machine + self.visibility_s, lease._token, lease._row)

    async def ack(self, lease: Lease, *, then: Iterable[Message] = ()) -> None:
        """End a message, and accept the messages that follow from it: both, or neither.

        Raises:
            LeaseLostError: It is no longer ours; nothing was accepted.
            MessageError: A message that follows is not allowed; nothing was ended.
        """
        following = [(message, self._body(message)) for message in then]
        now = self._now()

        def write(db: sqlite3.Connection) -> None:
            tables.acknowledge(db, lease._row, lease._token, now)
            for message, body in following:
                tables.insert(
                    *(db, message, body),
                    now=now,
                    max_attempts=self._max_attempts,
                    expires_s=None,
                    parent_checked=False,
                )

        await self._database.run(write)
        for to in {lease.message.to, *(message.to for message, _ in following)}:
            self._wake(to)

    async def nack(self, lease: Lease, reason: str, *, delay_s: float = 0.0, bury: bool = False) -> bool:
        """Note that a message could not be dealt with; it is delivered again after `delay_s`.

        Args:
            lease: The message.
            reason: Why; the last one stands on a dead letter.
            delay_s: Pause before the next delivery.
            bury: Give it up now: another try cannot help.

        Returns:
            Whether it is a dead letter now.

        Raises:
            LeaseLostError: It is no longer ours.
        """
        now = self._now()
        dead = await self._database.run(
            lambda db: tables.refuse(db, lease._row, lease._token, reason, delay_s=delay_s, bury=bury, now=now)
        )
        self._wake(lease.message.to)
        return dead

    async def release(self, lease: Lease) -> None:
        """Give a message back untouched, for example because this process ends; it does not count as a delivery.

        Raises:
            LeaseLostError: It is no longer ours.
        """
        await self._database.run(lambda db: tables.give_back(db, lease._row, lease._token))
        self._wake(lease.message.to)

    async def left(self, message_id: str) -> MessageBudget | None:
        """Return what a message may still pass on; null if the queue does not know it."""
        now = self._now()
        return await self._database.look(lambda db: tables.left(db, message_id, now))

    async def spend(self, message: Message) -> bool:
        """Take a message that goes another way out of its parent's budget; say whether the parent is known here.

        Raises:
            MessageError: It carries more than is left.
        """
        now = self._now()
        return await self._database.run(lambda db: tables.spend(db, message, now))

    async def dead_letters(self, to: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Return dead letters, the latest first."""
        rows = await self._database.look(lambda db: tables.dead(db, to, limit))
        return [DeadLetter(_read(row.body), row.attempts, row.reason or "", row.changed) for row in rows]

    async def revive(self, message_id: str) -> None:
        """Deliver a dead letter again, with all its attempts, at its old place.

        Raises:
            MessageError: It is none.
        """
        now = self._now()
        self._wake(await self._database.run(lambda db: tables.revive(db, message_id, now)))

    async def discard(self, message_id: str) -> None:
        """End a dead letter.

        Raises:
            MessageError: It is none.
        """
        now = self._now()
        await self._database.run(lambda db: tables.discard(db, message_id, now))

    async def purge(self, older_than_s: float = _KEEP_S) -> int:
        """Forget ids and budgets of messages that ended so long ago; say how many. Dead letters stay."""
        before = self._wall() - older_than_s
        return await self._database.run(lambda db: tables.purge(db, before))

    def depths(self) -> list[QueueReading]:
        """Count what is in the queue, from any thread; made for `telemetry.sources.queues`."""
        return [QueueReading(*row) for row in self._database.read(tables.depths)]

    async def aclose(self) -> None:
        """Write what waits; who waits for a message is told that the queue is closed."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        await asyncio.to_thread(self._database.close)
        for to in list(self._waiters):
            for signal in self._waiters[to]:
                if not signal.done():
                    signal.set_result(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _now(self) -> tables.Now:
        return tables.Now(self._clock(), boot_id(), self._wall())

    def _body(self, message: Message) -> str:
        body = json.dumps(message.to_wire(), ensure_ascii=False, separators=(",", ":"))
        if len(body.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
            raise MessageError(
                f"The message {message.message_id} takes more than {MAX_MESSAGE_BYTES:,} bytes.",
                remedy="Put large material into a file and send its path.",
            )
        return body

    async def _insert(self, message: Message, now: tables.Now, expires_s: float | None) -> bool:
        body = self._body(message)
        paid, checked = await self._pay(message)
        try:
            fresh = await self._database.run(
                lambda db: tables.insert(
                    *(db, message, body),
                    now=now,
                    max_attempts=self._max_attempts,
                    expires_s=expires_s,
                    parent_checked=checked,
                )
            )
        except Exception:
            if paid and self._budgets is not None:
                self._budgets.refund(message)
            raise
        if paid and not fresh and self._budgets is not None:
            self._budgets.refund(message)
        return fresh

    async def _pay(self, message: Message) -> tuple[bool, bool]:
        """Pay from a purse in this process; say whether that was done, and whether the parent needs no more checks."""
        if self._budgets is None or self._budgets.left(message.parent_message_id or "") is None:
            return False, False
        if await self._database.look(lambda db: tables.is_known(db, message.message_id)):
            return False, True  # it was paid for when it came first
        return self._budgets.spend(message), True

    async def _claim(self, to: str, in_order: bool) -> tuple[tables.Claim, str]:
        token = uuid.uuid4().hex
        now = self._now()
        claiming = asyncio.ensure_future(
            self._database.run(lambda db: tables.claim(db, to, token, self.visibility_s, in_order=in_order, now=now))
        )
        try:
            claim = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The lease may be on disk already: give it back, so that nobody waits for it to run out.
            claiming.add_done_callback(lambda done: self._give_back(done, token))
            raise
        self._observe(claim.version)
        return claim, token

    def _give_back(self, claimed: asyncio.Future[tables.Claim], token: str) -> None:
        if not claimed.cancelled() and claimed.exception() is None and (row := claimed.result().row) is not None:
            task = asyncio.ensure_future(self.release(self._lease(row, token)))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _lease(self, row: tables.Row, token: str) -> Lease:
        return Lease(_read(row.body), row.attempts, self._clock() + self.visibility_s, token, row)

    def _register(self, to: str) -> asyncio.Future[None]:
        signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(to, deque()).append(signal)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        return signal

    def _unregister(self, to: str, signal: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(to)
        if waiters is not None and signal in waiters:
            waiters.remove(signal)
            if not waiters:
                del self._waiters[to]

    def _pass_on(self, to: str, signal: asyncio.Future[None]) -> None:
        """Wake somebody else instead of one who was woken and leaves without looking."""
        if signal.done():
            self._wake(to)

    def _wake(self, to: str) -> None:
        """Let one waiting consumer look; it wakes the next one if it finds something."""
        waiters = self._waiters.get(to)
        while waiters:
            signal = waiters.popleft()
            if not waiters:
                del self._waiters[to]
            if not signal.done():
                signal.set_result(None)
                return

    def _observe(self, version: int) -> None:
        if self._version is not None and version != self._version:
            for to in list(self._waiters):
                self._wake(to)
        self._version = version

    async def _watch(self) -> None:
        """Look for messages of other processes while somebody here waits."""
        with suppress(StorageError):  # whoever waits meets it himself
            while self._waiters:
                await asyncio.sleep(self._poll_s)
                if self._waiters:
                    self._observe(await self._database.look(tables.data_version))


def _read(body: str) -> Message:
    return Message.from_wire(body)
