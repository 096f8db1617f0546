"""What is known of each execution, on disk: accepted, planned, which sub-tasks are done, finished.

After a crash the next process reads here what was acknowledged and not finished. The execution log stays the
only record of what happened; this is the memory of what is still to be done, and of answers to repeated requests.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import Field

from orchestai.contracts import ExecutionResult, Instruction, Plan, SubtaskRecord, WorkerOutput
from orchestai.contracts.base import Record
from orchestai.database import Database
from orchestai.engine.owners import Owner, is_alive
from orchestai.errors import IdempotencyError, InputError, StorageError

ExecutionStatus = Literal["accepted", "running", "waiting", "finished", "cancelled", "expired", "rejected"]
OPEN: tuple[ExecutionStatus, ...] = ("accepted", "running")
"""Somebody works on these, or should."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS executions (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    idempotency_key TEXT,
    request_sha256 TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT,
    attempt INTEGER NOT NULL DEFAULT 1,
    approved INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    expires REAL,
    reason TEXT,
    text TEXT NOT NULL,
    instruction TEXT NOT NULL,
    source TEXT NOT NULL,
    plan TEXT,
    success INTEGER,
    cost_usd REAL,
    latency_ms REAL,
    result TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS one_request ON executions (tenant, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS open_executions ON executions (status) WHERE status IN ('accepted', 'running', 'waiting');
CREATE INDEX IF NOT EXISTS latest ON executions (created);
CREATE TABLE IF NOT EXISTS subtasks (
    execution_id TEXT NOT NULL,
    node INTEGER NOT NULL,
    record TEXT,
    output TEXT,
    PRIMARY KEY (execution_id, node)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cancellations (execution_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class StoredExecution(Record):
    """One execution as the store knows it.

    Attributes:
        id: Identity of the execution.
        tenant: Whose it is.
        status: `accepted` and `running` are worked on; `waiting` needs a person; the others are ended.
        attempt: How many processes have taken it up.
        approved: Whether a person allowed its plan.
        created: When it was accepted, Unix time.
        updated: When its status last changed, Unix time.
        expires: When a waiting one ends by itself, Unix time.
        reason: Why it waits, or why it ended without a result.
        instruction: What was asked.
        source: Where the instruction came from.
        plan: What is to be run, once it is known.
        result: What came of it, once it is finished.
    """

    id: str
    tenant: str
    status: ExecutionStatus
    attempt: int
    approved: bool
    created: float
    updated: float
    expires: float | None
    reason: str | None
    instruction: Instruction
    source: dict[str, Any]
    plan: Plan | None
    result: ExecutionResult | None


class Summary(Record):
    """One line of a list of executions."""

    id: str
    tenant: str
    status: ExecutionStatus
    created: float
    text: str
    success: bool | None
    cost_usd: float | None
    latency_ms: float | None


class Rollup(Record):
    """What ended within a span of time.

    Attributes:
        executions: How many.
        successes: How many of them were accepted.
        cost_usd: What they cost together.
        latency_ms_p50: Median time of an execution.
        latency_ms_p95: Time that 95 % of them stayed within.
        last_failure: Id and reason of the last one without success.
    """

    executions: int
    successes: int
    cost_usd: float
    latency_ms_p50: float
    latency_ms_p95: float
    last_failure: str | None


class Accepted(Record):
    """What became of a request: the execution's id, and whether it is new."""

    id: str
    fresh: bool


class Progress(Record):
    """What earlier attempts left of an execution.

    Attributes:
        done: Record and output of each sub-task whose completion is durable.
        begun: Sub-tasks with external effects that were started and never reported an end.
    """

    done: dict[int, tuple[SubtaskRecord, WorkerOutput]] = Field(default_factory=dict)
    begun: frozenset[int] = frozenset()


class ExecutionStore:
    """The state of one home's executions; several processes may share it.

    Methods that change something return a future that is done when the change is on disk, so that callers
    wait only where they have promised something.

    Args:
        folder: Where the database and the owners' marks lie.
        clock: Unix time.
        on_commit: Told the number of writes and the seconds of each commit.

    Raises:
        StorageError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        on_commit: Callable[[int, float], None] | None = None,
    ) -> None:
        self._owners = folder / "owners"
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._owner = Owner(self._owners)
        except OSError as error:
            raise StorageError(
                f"The state of executions cannot be kept ({error.strerror}).",
                path=str(folder),
                remedy="Choose another home with ORCHESTAI_HOME.",
            ) from error
        self._database = Database(
            folder / "executions.sqlite", _SCHEMA, holds="The state of executions", on_commit=on_commit
        )
        self._local = threading.local()

    def close(self) -> None:
        """Write what waits; executions that are still open are anybody's from now on."""
        self._database.close()
        self._owner.release()

    def accept(self, execution_id: str, instruction: Instruction, source: Mapping[str, Any]) -> Future[Accepted]:
        """Promise to carry out an instruction, once.

        The future fails with `IdempotencyError` if the tenant used the key for another request.
        """
        now = self._clock()
        body = instruction.model_dump_json()
        digest = _request_digest(instruction)
        row = (
            *(execution_id, instruction.tenant, instruction.idempotency_key, digest, "accepted", self._owner.name),
            *(now, now, instruction.text, body, json.dumps(dict(source))),
        )

        def write(connection: sqlite3.Connection) -> Accepted:
            inserted = connection.execute(
                "INSERT INTO executions (id, tenant, idempotency_key, request_sha256, status, owner, created, updated,"
                " text, instruction, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                row,
            ).rowcount
            if inserted:
                return Accepted(id=execution_id, fresh=True)
            earlier = connection.execute(
                "SELECT id, request_sha256 FROM executions WHERE id = ? OR (tenant = ? AND idempotency_key = ?)",
                (execution_id, instruction.tenant, instruction.idempotency_key),
            ).fetchone()
            if earlier[1] != digest:
                raise IdempotencyError(str(instruction.idempotency_key or execution_id))
            return Accepted(id=earlier[0], fresh=False)

        return self._database.submit(write)

    def start(self, execution_id: str, plan: Plan) -> Future[None]:
        """Note the plan that runs now."""
        fields = {"status": "running", "plan": plan.model_dump_json(), "owner": self._owner.name, "reason": None}
        return self._database.submit(self._writer(execution_id, fields), urgent=False)

    def wait(self, execution_id: str, plan: Plan, *, reason: str, expires: float) -> Future[None]:
        """Let an execution wait for a person; nobody owns it meanwhile."""
        return self._update(
            execution_id, status="waiting", plan=plan.model_dump_json(), owner=None, reason=reason, expires=expires
        )

    def decide(self, execution_id: str, *, approve: bool, by: str = "") -> Future[None]:
        """Let a waiting execution go on, or end it.

        The future fails with `InputError` if it does not wait, or no longer.
        """
        now = self._clock()
        status = "accepted" if approve else "rejected"
        reason = f"{'approved' if approve else 'rejected'}{f' by {by}' if by else ''}"

        def write(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE executions SET status = ?, approved = ?, reason = ?, updated = ?"
                " WHERE id = ? AND status = 'waiting' AND expires > ?",
                (status, int(approve), reason, now, execution_id, now),
            ).rowcount
            if not changed:
                found = connection.execute("SELECT status FROM executions WHERE id = ?", (execution_id,)).fetchone()
                state = "is unknown" if found is None else f"is {'expired' if found[0] == 'waiting' else found[0]}"
                raise InputError(
                    f"Execution {execution_id!r} {state}; it does not wait for approval.",
                    remedy="`orchestai approve` without an id lists those that wait.",
                )

        return self._database.submit(write)

    def expire(self) -> Future[int]:
        """End what waited too long; say how many."""
        now = self._clock()

        def write(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "UPDATE executions SET status = 'expired', reason = 'nobody approved it in time', updated = ?"
                " WHERE status = 'waiting' AND expires <= ?",
                (now, now),
            ).rowcount

        return self._database.submit(write)

    def begin(self, execution_id: str, node: int) -> Future[None]:
        """Note that a sub-task with external effects is about to start."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO subtasks VALUES (?, ?, NULL, NULL)", (execution_id, node))

        return self._database.submit(write)

    def done(self, execution_id: str, record: SubtaskRecord, output: WorkerOutput) -> Future[None]:
        """Keep what a sub-task gave."""
        row = (execution_id, record.index, record.model_dump_json(), output.model_dump_json())

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO subtasks VALUES (?, ?, ?, ?)", row)

        return self._database.submit(write, urgent=False)

    def finish(
        self,
        execution_id: str,
        result: ExecutionResult | None,
        *,
        status: ExecutionStatus = "finished",
        reason: str = "",
    ) -> Future[None]:
        """Note the end; the sub-tasks' outputs are in the result from now on."""
        fields: dict[str, Any] = {"status": status, "owner": None, "reason": reason or None}
        if result is not None:
            fields |= {
                "success": int(result.success),
                "cost_usd": result.total_cost,
                "latency_ms": result.total_latency_ms,
                "result": result.model_dump_json(),
            }
        update = self._writer(execution_id, fields)

        def write(connection: sqlite3.Connection) -> None:
            update(connection)
            connection.execute("DELETE FROM subtasks WHERE execution_id = ?", (execution_id,))
            connection.execute("DELETE FROM cancellations WHERE execution_id = ?", (execution_id,))

        return self._database.submit(write, urgent=False)

    def ask_to_cancel(self, execution_id: str) -> Future[bool]:
        """Ask whichever process works on an open execution to end it; say whether it is open."""

        def write(connection: sqlite3.Connection) -> bool:
            return bool(
                connection.execute(
                    "INSERT OR REPLACE INTO cancellations SELECT id FROM executions"
                    " WHERE id = ? AND status IN ('accepted', 'running')",
                    (execution_id,),
                ).rowcount
            )

        return self._database.submit(write)

    def claim(self, execution_id: str | None = None) -> Future[list[str]]:
        """Take up open executions whose owner is gone, or just that one; say which they are.

        Two processes that claim at the same time never get the same one.
        """
        now = self._clock()

        def write(connection: sqlite3.Connection) -> list[str]:
            wanted = "AND id = ?" if execution_id is not None else ""
            rows = connection.execute(
                f"SELECT id, owner FROM executions WHERE status IN ('accepted', 'running') {wanted} ORDER BY created",
                (execution_id,) if execution_id is not None else (),
            ).fetchall()
            alive: dict[str | None, bool] = {None: False, self._owner.name: True}
            for _, owner in rows:
                if owner not in alive:
                    alive[owner] = is_alive(self._owners, owner)
            free = [found for found, owner in rows if not alive[owner]]
            connection.executemany(
                "UPDATE executions SET owner = ?, attempt = attempt + (owner IS NOT NULL), updated = ? WHERE id = ?",
                [(self._owner.name, now, found) for found in free],
            )
            return free

        return self._database.submit(write)

    def purge(self, older_than: float) -> Future[int]:
        """Forget ended executions from before that time; the log keeps them."""

        def write(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "DELETE FROM executions WHERE updated < ? AND status NOT IN ('accepted', 'running', 'waiting')",
                (older_than,),
            ).rowcount

        return self._database.submit(write)

    def flush(self) -> Future[None]:
        """Return a future that is done when everything handed over before is on disk, so that it can be read."""
        return self._database.submit(lambda _connection: None)

    def find(self, execution_id: str) -> StoredExecution | None:
        """Return one execution."""
        row = self._read("SELECT * FROM executions WHERE id = ?", (execution_id,))
        return _stored(row[0]) if row else None

    def to_cancel(self) -> frozenset[str]:
        """Return the executions that somebody asked to end and that have not ended."""
        return frozenset(row["execution_id"] for row in self._read("SELECT * FROM cancellations", ()))

    def progress(self, execution_id: str) -> Progress:
        """Return what earlier attempts left."""
        done: dict[int, tuple[SubtaskRecord, WorkerOutput]] = {}
        begun: set[int] = set()
        for row in self._read("SELECT * FROM subtasks WHERE execution_id = ?", (execution_id,)):
            if row["record"] is None:
                begun.add(row["node"])
            else:
                done[row["node"]] = (
                    SubtaskRecord.model_validate_json(row["record"]),
                    WorkerOutput.model_validate_json(row["output"]),
                )
        return Progress(done=done, begun=frozenset(begun))

    def search(
        self,
        *,
        tenant: str | None = None,
        status: ExecutionStatus | None = None,
        text: str | None = None,
        since: float | None = None,
        before: float | None = None,
        limit: int = 50,
    ) -> list[Summary]:
        """Return executions, the latest first.

        Args:
            tenant: Only this tenant's.
            status: Only those in this state.
            text: Only those whose instruction holds this text, case aside.
            since: Accepted at this Unix time or later.
            before: Accepted before this Unix time; the `created` of the last line gives the next page.
            limit: The most lines.

        Raises:
            InputError: There is no such status.
        """
        if status is not None and status not in get_args(ExecutionStatus):
            raise InputError(f"`status` must be one of {', '.join(get_args(ExecutionStatus))}, got {status!r}.")
        conditions = {
            "tenant = ?": tenant,
            "status = ?": status,
            "instr(lower(text), lower(?)) > 0": text,
            "created >= ?": since,
            "created < ?": before,
        }
        used = {condition: value for condition, value in conditions.items() if value is not None}
        where = f"WHERE {' AND '.join(used)}" if used else ""
        rows = self._read(
            "SELECT id, tenant, status, created, substr(text, 1, 200) AS text, success, cost_usd, latency_ms"
            f" FROM executions {where} ORDER BY created DESC LIMIT ?",
            (*used.values(), limit),
        )
        return [Summary.model_validate(dict(row)) for row in rows]

    def rollup(self, since: float, until: float) -> Rollup:
        """Return what ended between two points in Unix time, the first included."""
        rows = self._read(
            "SELECT id, success, cost_usd, latency_ms, json_extract(result, '$.error') AS error FROM executions"
            " WHERE status = 'finished' AND updated >= ? AND updated < ? ORDER BY updated",
            (since, until),
        )
        times = sorted(row["latency_ms"] or 0.0 for row in rows)
        failed = [row for row in rows if not row["success"]]
        return Rollup(
            executions=len(rows),
            successes=len(rows) - len(failed),
            cost_usd=sum(row["cost_usd"] or 0.0 for row in rows),
            latency_ms_p50=times[len(times) // 2] if times else 0.0,
            latency_ms_p95=times[int(len(times) * 0.95)] if times else 0.0,
            last_failure=f"{failed[-1]['id']}: {failed[-1]['error'] or 'not accepted'}" if failed else None,
        )

    def cost_by_tenant(self, *, tenant: str | None = None, since: float = 0.0) -> dict[str, float]:
        """Return the dollars of finished executions by tenant."""
        rows = self._read(
            "SELECT tenant, sum(cost_usd) AS cost FROM executions WHERE cost_usd IS NOT NULL AND created >= ?"
            " AND (? IS NULL OR tenant = ?) GROUP BY tenant ORDER BY tenant",
            (since, tenant, tenant),
        )
        return {row["tenant"]: row["cost"] for row in rows}

    def cost_by_user(self, *, since: float) -> dict[str, float]:
        """Return the dollars of finished executions by the token that asked for them."""
        rows = self._read(
            "SELECT json_extract(source, '$.user') AS user, sum(cost_usd) AS cost FROM executions"
            " WHERE cost_usd IS NOT NULL AND created >= ? AND user IS NOT NULL GROUP BY user",
            (since,),
        )
        return {row["user"]: row["cost"] for row in rows}

    def _update(self, execution_id: str, **fields: Any) -> Future[None]:
        return self._database.submit(self._writer(execution_id, fields))

    def _writer(self, execution_id: str, fields: Mapping[str, Any]) -> Any:
        given = {**fields, "updated": self._clock()}
        statement = f"UPDATE executions SET {', '.join(f'{name} = ?' for name in given)} WHERE id = ?"
        values = (*given.values(), execution_id)
        return lambda connection: connection.execute(statement, values) and None

    def _read(self, statement: str, values: Sequence[Any]) -> list[sqlite3.Row]:
        connection = cast("sqlite3.Connection | None", getattr(self._local, "connection", None))
        try:
            if connection is None:
                connection = self._local.connection = self._database.connect(read_only=True)
                connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._database.failure(error) from error


def _request_digest(instruction: Instruction) -> str:
    content = instruction.model_dump_json(exclude={"id", "idempotency_key", "tenant"})
    return hashlib.sha256(content.encode()).hexdigest()


def _stored(row: sqlite3.Row) -> StoredExecution:
    return StoredExecution(
        id=row["id"],
        tenant=row["tenant"],
        status=row["status"],
        attempt=row["attempt"],
        approved=bool(row["approved"]),
        created=row["created"],
        updated=row["updated"],
        expires=row["expires"],
        reason=row["reason"],
        instruction=Instruction.model_validate_json(row["instruction"]),
        source=json.loads(row["source"]),
        plan=Plan.model_validate_json(row["plan"]) if row["plan"] else None,
        result=ExecutionResult.model_validate_json(row["result"]) if row["result"] else None,
    )
