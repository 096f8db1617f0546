"""Automated collection: runs and logs many instructions, so that there is something to learn from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from orchestai.contracts import ExecutionResult, Instruction, Plan
from orchestai.errors import InputError, NoWorkerError, PlanError
from orchestai.logs import ExecutionSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectionItem:
    """One instruction to run.

    Attributes:
        instruction: What is to be done; its acceptance checks decide on success.
        plan: The plan to run; None lets the planner make one.
        source: Goes into the log.
        execution_id: Identity of the execution; an item whose id is already logged is not run again.
    """

    instruction: Instruction
    plan: Plan | None
    source: ExecutionSource
    execution_id: str


@dataclass
class CollectionReport:
    """What a collection did.

    Attributes:
        executed: Executions that ran now.
        succeeded: Those of them whose answer was accepted.
        completed: Those of them that ran to their end.
        simulated: Those of them in which a simulated worker took part.
        skipped: Items that were logged before.
        unplanned: Items that could not be planned, so that there was nothing to run and to log.
    """

    executed: int = 0
    succeeded: int = 0
    completed: int = 0
    simulated: int = 0
    skipped: int = 0
    unplanned: int = 0


Execute = Callable[[CollectionItem], Awaitable[ExecutionResult]]
OnDone = Callable[[CollectionItem, ExecutionResult | None], None]


async def collect(
    items: Sequence[CollectionItem],
    execute: Execute,
    *,
    concurrency: int = 4,
    done: frozenset[str] = frozenset(),
    on_done: OnDone | None = None,
) -> CollectionReport:
    """Run `items`, a few at a time.

    An item that fails is logged like any other and does not stop the rest, nor does one that cannot be
    planned; only what makes logging itself impossible (a full disk) does.

    Args:
        items: What to run.
        execute: Runs one item and returns when it is logged.
        concurrency: Executions at a time.
        done: Ids of executions that are in the log already.
        on_done: Told of each item as it ends, also of those that did not run (with None).

    Raises:
        InputError: `concurrency` is below 1.
        StorageError: The log cannot be written.
    """
    if concurrency < 1:
        raise InputError(f"`concurrency` must be >= 1, got {concurrency}.")
    report = CollectionReport()
    queue = iter(items)

    async def work() -> None:
        for item in queue:
            result = None
            if item.execution_id in done:
                report.skipped += 1
            else:
                try:
                    result = await execute(item)
                except (PlanError, NoWorkerError) as error:
                    _log.warning("%s cannot be planned: %s", item.execution_id, error)
                    report.unplanned += 1
                else:
                    report.executed += 1
                    report.succeeded += result.success
                    report.completed += result.completed
                    report.simulated += result.simulated
            if on_done is not None:
                on_done(item, result)

    workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return report
