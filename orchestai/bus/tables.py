"""The queue's table, and the statements on it; each function is one operation of `Database`."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import NamedTuple

from orchestai.bus.budgets import Purse, unknown_parent
from orchestai.contracts import Message, MessageBudget
from orchestai.errors import LeaseLostError, MessageError

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    recipient TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'ready',
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    boot TEXT NOT NULL,
    due REAL NOT NULL DEFAULT 0,
    expires REAL,
    changed REAL NOT NULL,
    lease TEXT,
    reason TEXT,
    trace_id TEXT NOT NULL,
    budget TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    spent_tokens INTEGER NOT NULL DEFAULT 0,
    spent_usd REAL NOT NULL DEFAULT 0,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_receiver ON messages (recipient, state, seq);
CREATE INDEX IF NOT EXISTS by_end ON messages (state, changed);
CREATE INDEX IF NOT EXISTS expiring ON messages (recipient, expires) WHERE expires IS NOT NULL AND state = 'ready';
"""


class Now(NamedTuple):
    """One moment on the two clocks: `machine` for leases and pauses, `wall` for what outlives a restart."""

    machine: float
    boot: str
    wall: float


class Row(NamedTuple):
    """A message on disk."""

    seq: int
    message_id: str
    attempts: int
    reason: str | None
    changed: float
    body: str


class Claim(NamedTuple):
    """What a look at the queue found.

    Attributes:
        row: The message that is leased now, if there was one.
        due: When to look again on the machine's clock, if something is held back until then.
        version: Changes when another process writes.
    """

    row: Row | None
    due: float | None
    version: int


_ROW = "seq, message_id, attempts, reason, changed, body"


def insert(
    connection: sqlite3.Connection,
    message: Message,
    body: str,
    *,
    now: Now,
    max_attempts: int,
    expires_s: float | None,
    parent_checked: bool,
) -> bool:
    """Add a message; say whether it is new."""
    digest = _digest(message)
    known = connection.execute("SELECT sha256 FROM messages WHERE message_id = ?", (message.message_id,)).fetchone()
    if known is not None:
        if known[0] != digest:
            raise MessageError(
                f"The id {message.message_id} stands for another message already.", remedy="Give each its own id."
            )
        return False
    unpaid = message.parent_message_id is not None and not parent_checked and not spend(connection, message, now)
    if unpaid and message.message_type == "task_request":
        raise unknown_parent(message)
    payload = message.payload
    connection.execute(
        "INSERT INTO messages (message_id, sha256, recipient, max_attempts, boot, expires, changed, trace_id, budget,"
        " capabilities, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(message.message_id, digest, message.to, max_attempts, now.boot),
            *(None if expires_s is None else now.wall + expires_s, now.wall, message.trace_id),
            *(payload.budget.model_dump_json(), json.dumps(sorted(payload.capabilities)), body),
        ),
    )
    return True


def is_known(connection: sqlite3.Connection, message_id: str) -> bool:
    """Say whether a message was accepted before."""
    return connection.execute("SELECT 1 FROM messages WHERE message_id = ?", (message_id,)).fetchone() is not None


def spend(connection: sqlite3.Connection, message: Message, now: Now) -> bool:
    """Take a message's budget out of its parent's; say whether the parent is here."""
    purse = _purse(connection, message.parent_message_id or "")
    if purse is None:
        return False
    purse.spend(message, now.machine)
    connection.execute(
        "UPDATE messages SET spent_tokens = ?, spent_usd = ? WHERE message_id = ?",
        (purse.tokens, purse.usd, message.parent_message_id),
    )
    return True


def left(connection: sqlite3.Connection, message_id: str, now: Now) -> MessageBudget | None:
    """Return what a message may still pass on."""
    purse = _purse(connection, message_id)
    return None if purse is None else purse.left(now.machine)


def claim(connection: sqlite3.Connection, to: str, lease: str, visible_s: float, *, in_order: bool, now: Now) -> Claim:
    """Lease the first message to a receiver that may be had."""
    version = data_version(connection)
    _end_leases(connection, to, now)
    # What is held back by the clock of an earlier start of the machine is due: that clock is gone.
    ready = "state = 'ready' AND (due <= :machine OR boot <> :boot)"
    which = {"to": to, **now._asdict()}
    if in_order:
        row = connection.execute(
            f"SELECT {_ROW} FROM messages WHERE seq = (SELECT min(seq) FROM messages WHERE recipient = :to"
            f" AND state IN ('ready', 'leased')) AND {ready}",
            which,
        ).fetchone()
    else:
        row = connection.execute(
            f"SELECT {_ROW} FROM messages WHERE recipient = :to AND {ready} ORDER BY seq LIMIT 1", which
        ).fetchone()
    if row is None:
        due = connection.execute(
            "SELECT min(due) FROM messages WHERE recipient = :to AND state IN ('ready', 'leased') AND due > :machine"
            " AND boot = :boot",
            which,
        ).fetchone()[0]
        return Claim(None, due, version)
    found = Row(*row)
    connection.execute(
        "UPDATE messages SET state = 'leased', lease = ?, boot = ?, due = ?, attempts = attempts + 1 WHERE seq = ?",
        (lease, now.boot, now.machine + visible_s, found.seq),
    )
    return Claim(found._replace(attempts=found.attempts + 1), None, version)


def _end_leases(connection: sqlite3.Connection, to: str, now: Now) -> None:
    """Take back what was not acknowledged in time, and bury what nobody can deliver."""
    which = {"to": to, **now._asdict()}
    over = "recipient = :to AND state = 'leased' AND (due <= :machine OR boot <> :boot)"
    connection.execute(
        "UPDATE messages SET state = 'dead', lease = NULL, changed = :wall, reason = 'not acknowledged in time, '"
        " || attempts || ' times: its consumer died or is too slow' || coalesce('; before that: ' || reason, '')"
        f" WHERE {over} AND attempts >= max_attempts",
        which,
    )
    connection.execute(f"UPDATE messages SET state = 'ready', lease = NULL, due = 0 WHERE {over}", which)
    connection.execute(
        "UPDATE messages SET state = 'dead', changed = :wall, reason = 'nobody took it in the time allowed'"
        " WHERE recipient = :to AND state = 'ready' AND expires <= :wall",
        which,
    )


def extend(connection: sqlite3.Connection, row: Row, lease: str, visible_s: float, now: Now) -> None:
    """Hold a message for longer."""
    _change(connection, row, lease, "due = ?, boot = ?", (now.machine + visible_s, now.boot))


def acknowledge(connection: sqlite3.Connection, row: Row, lease: str, now: Now) -> None:
    """End a message; its id and budget stay known, its text does not."""
    _change(connection, row, lease, "state = 'done', lease = NULL, body = '', changed = ?", (now.wall,))


def give_back(connection: sqlite3.Connection, row: Row, lease: str) -> None:
    """Make a message as it was before it was leased."""
    _change(connection, row, lease, "state = 'ready', lease = NULL, due = 0, attempts = attempts - 1", ())


def refuse(
    connection: sqlite3.Connection, row: Row, lease: str, reason: str, *, delay_s: float, bury: bool, now: Now
) -> bool:
    """Note a failure; say whether the message is dead now."""
    limit = connection.execute("SELECT max_attempts FROM messages WHERE seq = ?", (row.seq,)).fetchone()
    dead = bury or (limit is not None and row.attempts >= limit[0])
    _change(
        connection,
        row,
        lease,
        "state = ?, lease = NULL, reason = ?, due = ?, boot = ?, changed = ?",
        ("dead" if dead else "ready", reason, now.machine + delay_s if delay_s else 0.0, now.boot, now.wall),
    )
    return dead


def _change(connection: sqlite3.Connection, row: Row, lease: str, change: str, values: tuple[object, ...]) -> None:
    changed = connection.execute(
        f"UPDATE messages SET {change} WHERE seq = ? AND lease = ?", (*values, row.seq, lease)
    ).rowcount
    if not changed:
        raise LeaseLostError(row.message_id)


def dead(connection: sqlite3.Connection, to: str | None, limit: int) -> list[Row]:
    """Return dead letters, the latest first."""
    rows = connection.execute(
        f"SELECT {_ROW} FROM messages WHERE state = 'dead' AND (:to IS NULL OR recipient = :to)"
        " ORDER BY changed DESC, seq DESC LIMIT :limit",
        {"to": to, "limit": limit},
    )
    return [Row(*row) for row in rows]


def revive(connection: sqlite3.Connection, message_id: str, now: Now) -> str:
    """Deliver a dead letter again, at its old place; return its receiver."""
    found = connection.execute(
        "UPDATE messages SET state = 'ready', attempts = 0, due = 0, expires = NULL, changed = ?"
        " WHERE message_id = ? AND state = 'dead' RETURNING recipient",
        (now.wall, message_id),
    ).fetchone()
    if found is None:
        raise _not_dead(message_id)
    return str(found[0])


def discard(connection: sqlite3.Connection, message_id: str, now: Now) -> None:
    """End a dead letter."""
    changed = connection.execute(
        "UPDATE messages SET state = 'done', body = '', changed = ? WHERE message_id = ? AND state = 'dead'",
        (now.wall, message_id),
    ).rowcount
    if not changed:
        raise _not_dead(message_id)


def purge(connection: sqlite3.Connection, older_than: float) -> int:
    """Forget ended messages; dead letters stay."""
    return connection.execute("DELETE FROM messages WHERE state = 'done' AND changed < ?", (older_than,)).rowcount


def depths(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """Count messages by receiver and state."""
    return connection.execute(
        "SELECT recipient, state, count(*) FROM messages WHERE state IN ('ready', 'leased', 'dead')"
        " GROUP BY recipient, state ORDER BY recipient, state"
    ).fetchall()


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection writes."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _purse(connection: sqlite3.Connection, message_id: str) -> Purse | None:
    row = connection.execute(
        "SELECT trace_id, budget, capabilities, spent_tokens, spent_usd FROM messages WHERE message_id = ?",
        (message_id,),
    ).fetchone()
    if row is None:
        return None
    return Purse(row[0], MessageBudget.model_validate_json(row[1]), frozenset(json.loads(row[2])), row[3], row[4])


def _digest(message: Message) -> str:
    """Hash what makes two messages of one id the same; the time of a second attempt is another."""
    parts = (
        *(message.sender, message.to, message.message_type, message.trace_id),
        *(message.parent_message_id or "", message.payload.content_sha256),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _not_dead(message_id: str) -> MessageError:
    return MessageError(f"The message {message_id} is no dead letter.", remedy="List them with `dead_letters`.")
