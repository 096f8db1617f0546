"""One pass over a plan: a sub-task starts as soon as the last of its parents is done; levels are no barriers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from orchestai.arms.repair import Verdict
from orchestai.contracts import (
    ExecutionEvent,
    ExecutionResult,
    Instruction,
    Plan,
    Review,
    SubtaskRecord,
    WorkerOutput,
)
from orchestai.engine.integrate import combine
from orchestai.engine.journal import Journal
from orchestai.engine.ledger import Ledger
from orchestai.engine.subtask import OnPiece, Revision
from orchestai.errors import (
    DeadlineExceededError,
    ExecutionStoppedError,
    OrchestAIError,
    UnknownOutcomeError,
    WorkerError,
)

if TYPE_CHECKING:
    from orchestai.engine.engine import Engine

OnEvent = Callable[[ExecutionEvent], None]

_log = logging.getLogger(__name__)

_GRACE_S = 5.0
"""How long a cancelled sub-task may take to let go before it is left behind."""


class Stop:
    """Lets somebody else end an execution that runs; what is done by then is kept."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._listener: Callable[[], None] | None = None

    def request(self, reason: str = "cancelled by the caller") -> None:
        """End the execution; to be called on the engine's event loop."""
        self.reason = self.reason or reason
        if self._listener is not None:
            self._listener()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Be told; at once if the end was asked for already."""
        self._listener = listener
        if listener is not None and self.reason is not None:
            listener()


class Execution:
    """State of one pass over a plan.

    Args:
        engine: Runs the sub-tasks.
        instruction: What the user asked.
        plan: Graph and workers.
        execution_id: Identity of the execution.
        on_event: Told of every change of state.
        journal: Keeps the progress, and knows that of earlier attempts.
        stop: Ends the execution early.
        on_piece: Told the answer in pieces as they come, where that can be done.
    """

    def __init__(
        self,
        engine: Engine,
        instruction: Instruction,
        plan: Plan,
        execution_id: str,
        *,
        on_event: OnEvent | None,
        journal: Journal,
        stop: Stop,
        on_piece: OnPiece | None = None,
    ) -> None:
        self._engine = engine
        self._instruction = instruction
        self._plan = plan
        self._id = execution_id
        self._on_event = on_event
        self._journal = journal
        self._stop = stop
        self._ledger = Ledger(instruction.budget, spent_usd=plan.planning_cost_usd, spent_tokens=plan.planning_tokens)
        self._records: dict[int, SubtaskRecord] = {}
        self._outputs: dict[int, WorkerOutput] = {}
        self._missing = [len(parents) for parents in plan.graph.dependencies]
        self._children = plan.graph.children
        one_answer = len(plan.graph.sinks) == 1 and engine.reviewer is None
        self._on_piece = on_piece if one_answer else None
        self._running: set[asyncio.Task[None]] = set()
        self._finished: asyncio.Future[None] | None = None
        limit = engine.max_parallel
        self._parallel = asyncio.Semaphore(limit) if limit is not None else None

    async def run(self) -> ExecutionResult:
        """Run what is not done yet and combine the answer."""
        started = time.monotonic()
        ended: OrchestAIError | None = None
        review: Review | None = None
        seconds = self._instruction.budget.seconds
        try:
            async with asyncio.timeout(seconds) if seconds is not None else nullcontext():
                await self._run_ready_set()
                review = await self._review()
        except TimeoutError:
            ended = DeadlineExceededError(f"The {seconds:g} s allowed for the execution are over.")
        except ExecutionStoppedError as error:
            ended = error
        if ended is not None:
            self._fail_open_subtasks(ended)
        return self._engine.assemble(
            self._instruction,
            self._plan,
            self._records,
            self._outputs,
            execution_id=self._id,
            total_latency_ms=(time.monotonic() - started) * 1000,
            review=review,
        )

    async def _review(self) -> Review | None:
        """Let the judge look at a complete answer, and mend it where that is asked for."""
        reviewer = self._engine.reviewer
        if reviewer is None or any(self._records[node].status != "done" for node in range(len(self._plan.graph))):
            return None
        versions: list[tuple[WorkerOutput, dict[int, WorkerOutput]]] = []

        async def revise(verdict: Verdict | None) -> WorkerOutput:
            if verdict is not None:
                sinks = [self._mend(sink, verdict.reason) for sink in self._plan.graph.sinks]
                self._outputs = {**self._outputs, **dict(await asyncio.gather(*sinks))}
            answer = WorkerOutput(content=combine(self._plan, self._outputs))
            versions.append((answer, self._outputs))
            return answer

        work = asyncio.create_task(reviewer.review(self._instruction, revise, self._ledger))

        def halt() -> None:
            work.cancel()

        self._stop.listen(halt)
        try:
            best, review = await work
        except asyncio.CancelledError:
            if self._stop.reason is None:
                raise
            raise ExecutionStoppedError(self._stop.reason) from None
        finally:
            self._stop.listen(None)
            work.cancel()
        self._outputs = next(outputs for answer, outputs in versions if answer is best)
        return review

    async def _mend(self, node: int, reason: str) -> tuple[int, WorkerOutput]:
        before, answer = self._records[node], str(self._outputs[node].content)
        record, output = await self._run_node(node, Revision(answer, reason))
        self._records[node] = record.model_copy(
            update={
                "status": "done",  # there is an answer, if not a better one
                "attempts": before.attempts + record.attempts,
                "input_tokens": before.input_tokens + record.input_tokens,
                "output_tokens": before.output_tokens + record.output_tokens,
                "cost_usd": before.cost_usd + record.cost_usd,
                "latency_ms": before.latency_ms + record.latency_ms,
            }
        )
        if record.status != "done":
            raise WorkerError(record.error or "The repair failed.", worker=record.worker)
        return node, output

    async def _run_ready_set(self) -> None:
        self._finished = asyncio.get_running_loop().create_future()
        try:
            self._take_over()
            ready = [node for node, missing in enumerate(self._missing) if not missing and node not in self._records]
            for node in ready:
                self._spawn(node)
            if not self._running:
                self._finish()
            self._stop.listen(self._halt)
            await self._finished
            for node in range(len(self._plan.graph)):
                if node not in self._records:  # what still waits, waits for something that failed
                    self._emit(node, "skipped")
        finally:
            self._stop.listen(None)
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=_GRACE_S)

    def _take_over(self) -> None:
        """Start from what earlier attempts left; a call with effects that may have happened is not repeated."""
        progress = self._journal.progress
        for node, (record, output) in progress.done.items():
            self._note(node, record, output)
        for node in progress.begun:
            error = UnknownOutcomeError(node)
            self._records[node] = self._failed(node, error)
            self._emit(node, "failed", error=self._records[node].error)

    def _spawn(self, node: int) -> None:
        task = asyncio.create_task(self._run_from(node))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        finished = self._finished
        if finished is None or finished.done():
            if not task.cancelled():
                task.exception()  # looked at, for nobody else will
        elif not task.cancelled() and (error := task.exception()) is not None:
            finished.set_exception(error)
        elif not self._running:
            self._finish()

    def _finish(self) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)

    def _halt(self) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_exception(ExecutionStoppedError(self._stop.reason or "stopped"))

    async def _run_from(self, first: int) -> None:
        """Run a node, then one of the nodes that became ready; the others get tasks of their own."""
        node: int | None = first
        while node is not None:
            if self._parallel is None:
                ready = await self._run_one(node)
            else:
                async with self._parallel:
                    ready = await self._run_one(node)
            node = ready[0] if ready else None
            for other in ready[1:]:
                self._spawn(other)

    async def _run_one(self, node: int) -> list[int]:
        record, output = await self._run_node(node)
        anomaly = self._engine.watched(record)
        if record.status == "done":
            self._journal.done(record, output)
        ready = self._note(node, record, output)
        self._emit_end(node, record, output, anomaly)
        return ready

    async def _run_node(self, node: int, revision: Revision | None = None) -> tuple[SubtaskRecord, WorkerOutput]:
        contents = {parent: self._outputs[parent].content for parent in self._plan.graph.dependencies[node]}
        notify: Callable[..., None] | None = None
        if self._on_event is not None:

            def notify(status: Any, **fields: Any) -> None:
                self._emit(node, status, **fields)

        return await self._engine.run_subtask(
            self._instruction,
            self._plan,
            node,
            contents,
            ledger=self._ledger,
            notify=notify,
            journal=self._journal,
            revision=revision,
            on_piece=self._on_piece if node == self._plan.graph.sinks[0] else None,
        )

    def _emit_end(self, node: int, record: SubtaskRecord, output: WorkerOutput, anomaly: float | None) -> None:
        if self._on_event is not None:
            self._emit(
                node,
                record.status,
                worker=record.worker,
                attempt=record.attempts,
                cost_usd=record.cost_usd,
                latency_ms=record.latency_ms,
                error=record.error,
                content=output.content if record.status == "done" else None,
                anomaly=anomaly,
            )

    def _note(self, node: int, record: SubtaskRecord, output: WorkerOutput) -> list[int]:
        """Take a record down and return the nodes that became ready by it."""
        self._records[node], self._outputs[node] = record, output
        if record.status != "done":
            return []
        ready = []
        for child in self._children[node]:
            self._missing[child] -= 1
            if not self._missing[child]:
                ready.append(child)
        return ready

    def _fail_open_subtasks(self, error: OrchestAIError) -> None:
        for node in range(len(self._plan.graph)):
            if node not in self._records:
                self._records[node] = self._failed(node, error)
                self._emit(node, "failed", error=self._records[node].error)

    def _failed(self, node: int, error: OrchestAIError) -> SubtaskRecord:
        subtask = self._plan.graph.nodes[node]
        worker = self._plan.assignments[node].worker
        return SubtaskRecord(
            index=node,
            task_type=subtask.task_type,
            description=subtask.description,
            worker=worker,
            simulated=self._engine.is_simulated(worker),
            status="failed",
            error=f"{error.code}: {error}",
        )

    def _emit(self, node: int, status: Any, *, worker: str | None = None, **fields: Any) -> None:
        if self._on_event is None:
            return
        name = worker or self._plan.assignments[node].worker
        event = ExecutionEvent(execution_id=self._id, index=node, status=status, worker=name, **fields)
        try:
            self._on_event(event)
        except Exception:  # a host that cannot show an event must not harm the execution
            _log.exception("execution %s: the host failed to take an event", self._id)
