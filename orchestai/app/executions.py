"""The life of executions: accepted, perhaps approved by a person, run, logged, finished; resumed after a crash."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orchestai.app.guard import Guard
from orchestai.app.serving import ServedModels
from orchestai.config import EngineConfig
from orchestai.contracts import ExecutionEvent, ExecutionResult, Instruction, Plan, WorkerCatalog
from orchestai.engine import Engine
from orchestai.engine.execution import OnEvent, Stop
from orchestai.engine.journal import StoreJournal
from orchestai.engine.store import ExecutionStatus, ExecutionStore, StoredExecution
from orchestai.errors import ApprovalNeededError, ExecutionStoppedError, InputError, OrchestAIError
from orchestai.logs import ExecutionLogger, ExecutionLogRecord, ExecutionSource, find_execution
from orchestai.reflex import ReflexVerdict
from orchestai.telemetry import ExecutionWatch, Telemetry

T = TypeVar("T")

_log = logging.getLogger(__name__)

_POLL_S = 0.2
"""How often another process's execution is looked at while somebody waits for it."""

MakeRecord = Callable[[Instruction, Plan, ExecutionResult, ExecutionSource, int], ExecutionLogRecord]


@dataclass(frozen=True)
class Execution:
    """A plan and what came of it."""

    plan: Plan
    result: ExecutionResult


@dataclass(frozen=True)
class Submitted:
    """An accepted request.

    Attributes:
        id: The execution that it became.
        task: Its work; None if an equal request started it before (see `Executions.join`).
    """

    id: str
    task: asyncio.Task[Execution] | None


@dataclass(frozen=True)
class _Job:
    """What is to be carried out."""

    id: str
    instruction: Instruction
    plan: Plan | None
    source: ExecutionSource
    on_event: OnEvent | None = None
    on_plan: Callable[[str, Plan], None] | None = None
    on_piece: Callable[[str], None] | None = None
    accepting: Future[Any] | None = None
    stored: StoredExecution | None = None


@dataclass
class _Running:
    verdict: ReflexVerdict | None = None
    stop: Stop = field(default_factory=Stop)
    task: asyncio.Task[Execution] | None = None


class Executions:
    """All executions of one process; to be used on one event loop.

    Args:
        served: Gives the planner of an instruction, by version.
        engine: Runs plans.
        logger: The execution log; None when logging is off.
        store: What is to be done, on disk; None for hosts that promise nothing.
        guard: Refuses, answers at once, cleans; None lets every instruction through as it is.
        workers: Tells which plans have effects outside.
        telemetry: Takes down what happens.
        config: Which plans wait for a person, and how long ended executions are kept.
        make_record: Makes the line of the log.
    """

    def __init__(
        self,
        *,
        served: ServedModels,
        engine: Engine,
        logger: ExecutionLogger | None,
        store: ExecutionStore | None,
        guard: Guard | None,
        workers: WorkerCatalog,
        telemetry: Telemetry,
        config: EngineConfig,
        make_record: MakeRecord,
    ) -> None:
        self._served = served
        self._engine = engine
        self._logger = logger
        self._store = store
        self._guard = guard
        self._workers = workers
        self._telemetry = telemetry
        self._approval = config.approval
        self._keep_s = config.keep_days * 86_400
        self._make_record = make_record
        self._running: dict[str, _Running] = {}
        self._leaving = False

    @property
    def running(self) -> int:
        """Executions in progress."""
        return len(self._running)

    async def run(
        self,
        instruction: Instruction,
        plan: Plan | None = None,
        *,
        source: ExecutionSource,
        on_event: OnEvent | None = None,
        on_plan: Callable[[str, Plan], None] | None = None,
        execution_id: str | None = None,
        detached: bool = False,
        spendable_usd: float | None = None,
        guarded: bool = True,
    ) -> Execution:
        """Carry out an instruction; a repeated request gets the result of the first.

        Args:
            instruction: What is asked.
            plan: Graph and workers; planned here when not given.
            source: Where the instruction came from.
            on_event: Told of every change of state.
            on_plan: Told the id and the plan before the first sub-task starts.
            execution_id: Identity of the execution; made when not given.
            detached: Go on when the caller is cancelled.
            spendable_usd: What may be spent at most, whatever the instruction's budget says.
            guarded: Whether the reflex layer looks at it; a collection runs what it is given, each time.

        Raises:
            RefusedError: The instruction is an attack.
            ApprovalNeededError: A person has to allow the plan first; the execution waits on disk.
            IdempotencyError: The tenant used the key for another request.
            NoWorkerError: A sub-task needs a call that no worker answers.
            StorageError: State or log cannot be written.
        """
        execution_id = execution_id or uuid.uuid4().hex
        verdict = await self._guard.check(instruction) if self._guard is not None and guarded else None
        if verdict is not None:
            instruction = verdict.instruction
            if verdict.answer is not None and plan is None:
                return await self._give_again(verdict, execution_id, source, on_plan)
        if self._store is not None:
            accepting = self._store.accept(execution_id, instruction, source.model_dump())
            if instruction.idempotency_key is not None:
                accepted = await _on_disk(accepting)
                if not accepted.fresh:
                    return self._restored(verdict, await self.join(accepted.id))
        else:
            accepting = None
        instruction = _within(instruction, spendable_usd)
        job = _Job(execution_id, instruction, plan, source, on_event, on_plan, accepting=accepting)
        task = self._start(execution_id, self._carry_out(job), verdict)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not detached:
                task.cancel()
            raise

    async def admit(self, instruction: Instruction) -> Instruction:
        """Return the instruction without personal data and secrets, for hosts that run the sub-tasks themselves.

        Raises:
            RefusedError: The instruction is an attack.
            InstructionError: It is larger than allowed.
        """
        return instruction if self._guard is None else (await self._guard.check(instruction)).instruction

    async def plan(self, instruction: Instruction) -> Plan:
        """Plan without running; personal data is left out of the plan.

        Raises:
            RefusedError: The instruction is an attack.
            NoWorkerError: A sub-task needs a call that no worker answers.
        """
        return await self._make_plan(await self.admit(instruction))

    async def submit(
        self,
        instruction: Instruction,
        *,
        source: ExecutionSource,
        on_event: OnEvent | None = None,
        on_plan: Callable[[str, Plan], None] | None = None,
        on_piece: Callable[[str], None] | None = None,
        spendable_usd: float | None = None,
    ) -> Submitted:
        """Accept an instruction and start it; returns as soon as the promise is on disk.

        The arguments are those of `run`, which is quicker for callers that need nothing but the result; `on_piece`
        is told the answer in pieces as they come, or not at all (see `Engine.execute`).

        Raises:
            IdempotencyError: The tenant used the key for another request.
            StorageError: State cannot be written.
        """
        execution_id = uuid.uuid4().hex
        verdict = await self._guard.check(instruction) if self._guard is not None else None
        if verdict is not None:
            instruction = verdict.instruction
            if verdict.answer is not None:
                given = self._give_again(verdict, execution_id, source, on_plan)
                return Submitted(execution_id, asyncio.create_task(given))
        accepted = await _on_disk(self._need_store().accept(execution_id, instruction, source.model_dump()))
        if not accepted.fresh:
            return Submitted(accepted.id, None)
        instruction = _within(instruction, spendable_usd)
        if verdict is not None and verdict.pii:
            on_piece = None  # a placeholder may come in two pieces, and only whole ones can be put back
        job = _Job(execution_id, instruction, None, source, on_event, on_plan, on_piece)
        return Submitted(execution_id, self._start(execution_id, self._carry_out(job), verdict))

    def cancel(self, execution_id: str) -> bool:
        """End an execution that runs here, keeping what is done; say whether there was one."""
        running = self._running.get(execution_id)
        if running is None:
            return False
        running.stop.request()
        return True

    async def decide(self, execution_id: str, *, approve: bool, by: str = "") -> None:
        """Let a waiting execution go on (see `resume`), or end it.

        Raises:
            InputError: It does not wait.
        """
        await _on_disk(self._need_store().decide(execution_id, approve=approve, by=by))

    async def resume(self, execution_id: str | None = None) -> dict[str, asyncio.Task[Execution]]:
        """Take up what another process left, or what was approved, and start it.

        Args:
            execution_id: Only this one.

        Returns:
            The started executions by id.
        """
        store = self._need_store()
        await _on_disk(store.expire())
        await _on_disk(store.purge(time.time() - self._keep_s))
        claimed = await _on_disk(store.claim(execution_id))
        return {found: self._start(found, self._take_up(found)) for found in claimed}

    async def finish(self, execution_id: str) -> Execution:
        """Take up one execution that nobody works on and wait for its end.

        Raises:
            InputError: It is unknown, ended already, or somebody works on it.
        """
        started = await self.resume(execution_id)
        if execution_id in started:
            return await started[execution_id]
        stored = self._need_store().find(execution_id)
        state = "is unknown" if stored is None else f"is {stored.status} and nothing is left to do here"
        raise InputError(f"Execution {execution_id!r} {state}.", remedy="`orchestai logs list` shows what ended.")

    async def leave(self, grace_s: float) -> int:
        """Wait for what runs, then let go of the rest, which another process can resume; say how much that is."""
        self._leaving = True
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if not tasks:
            return 0
        _, rest = await asyncio.wait(tasks, timeout=grace_s)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        return len(rest)

    async def _give_again(
        self,
        verdict: ReflexVerdict,
        execution_id: str,
        source: ExecutionSource,
        on_plan: Callable[[str, Plan], None] | None,
    ) -> Execution:
        """Give a kept answer; it is an execution for the store, and none for the log, from which is learned."""
        assert self._guard is not None  # it gave the verdict
        plan, result = self._guard.answer(verdict, execution_id)
        if self._store is not None:
            accepted = self._store.accept(execution_id, verdict.instruction, source.model_dump())
            if verdict.instruction.idempotency_key is not None and not (await _on_disk(accepted)).fresh:
                return self._restored(verdict, await self.join(accepted.result().id))
            self._store.start(execution_id, plan)
            self._store.finish(execution_id, result).add_done_callback(_warn)
        if on_plan is not None:
            on_plan(execution_id, plan)
        return self._restored(verdict, Execution(plan, result))

    def _restored(self, verdict: ReflexVerdict | None, execution: Execution) -> Execution:
        if self._guard is None or verdict is None:
            return execution
        return Execution(execution.plan, self._guard.restore(verdict, execution.result))

    def _restoring(self, verdict: ReflexVerdict | None, on_event: OnEvent | None) -> OnEvent | None:
        guard = self._guard
        if on_event is None or guard is None or verdict is None or not verdict.pii:
            return on_event

        def restored(event: ExecutionEvent) -> None:
            content = guard.restore_value(verdict, event.content)
            on_event(event.model_copy(update={"content": content}))

        return restored

    def _start(
        self, execution_id: str, work: Coroutine[Any, Any, Execution], verdict: ReflexVerdict | None = None
    ) -> asyncio.Task[Execution]:
        running = self._running[execution_id] = _Running(verdict)
        running.task = task = asyncio.create_task(work)

        def forget(done: asyncio.Task[Execution]) -> None:
            self._running.pop(execution_id, None)
            if not done.cancelled():
                done.exception()  # looked at; whoever waits gets it too

        task.add_done_callback(forget)
        return task

    async def _take_up(self, execution_id: str) -> Execution:
        store = self._need_store()
        stored = await asyncio.to_thread(store.find, execution_id)
        if stored is None:
            raise InputError(f"Execution {execution_id!r} is unknown.")
        _log.info("execution %s: resumed, attempt %d", execution_id, stored.attempt)
        if stored.plan is not None and stored.attempt > 1 and self._logger is not None:
            # It may have got as far as the log: then only the note of its end is missing.
            logged = await asyncio.to_thread(find_execution, self._logger.directory, execution_id)
            if logged is not None and logged.execution_id == execution_id:
                return await self._note_logged(stored, logged)
        source = ExecutionSource.model_validate(stored.source)
        return await self._carry_out(_Job(execution_id, stored.instruction, stored.plan, source, stored=stored))

    async def _note_logged(self, stored: StoredExecution, logged: ExecutionLogRecord) -> Execution:
        result = ExecutionResult.model_validate(
            {
                **logged.execution_result,
                "execution_id": stored.id,
                "completed": logged.completed,
                "checks": logged.checks,
                "subtasks": logged.subtasks,
            }
        )
        await _on_disk(self._need_store().finish(stored.id, result))
        assert stored.plan is not None  # what was logged was planned
        return Execution(stored.plan, result)

    async def _carry_out(self, job: _Job) -> Execution:
        running = self._running[job.id]
        watching = self._telemetry.execution(
            job.id,
            job.instruction,
            on_event=self._restoring(running.verdict, job.on_event),
            traceparent=job.source.traceparent,
        )
        try:
            with watching as watch:
                plan = job.plan or await self._make_plan(job.instruction)
                watch.planned(plan, given=job.plan is not None)
                if job.accepting is not None:
                    await _on_disk(job.accepting)
                if self._store is not None:
                    approved = job.stored is not None and job.stored.approved
                    if not approved and (reason := await self._why_ask(plan, running.verdict)) is not None:
                        await self._wait_for_approval(job.id, plan, reason)
                    self._store.start(job.id, plan)
                if job.on_plan is not None:
                    job.on_plan(job.id, plan)
                execution = await self._run(job, plan, running.stop, watch)
            if running.verdict is not None and self._guard is not None:
                self._guard.keep(running.verdict, execution.result)
            return self._restored(running.verdict, execution)
        except asyncio.CancelledError:
            self._end(job.id, "cancelled", "the caller went away")
            raise
        except ApprovalNeededError:
            raise
        except OrchestAIError as error:
            self._end(job.id, "finished", str(error))
            raise

    async def _run(self, job: _Job, plan: Plan, stop: Stop, watch: ExecutionWatch) -> Execution:
        journal = None
        if self._store is not None:
            progress = await asyncio.to_thread(self._store.progress, job.id) if job.stored is not None else None
            journal = StoreJournal(self._store, job.id, progress)
        result = await self._engine.execute(
            job.instruction,
            plan,
            execution_id=job.id,
            on_event=watch.on_event,
            journal=journal,
            stop=stop,
            on_piece=job.on_piece,
        )
        watch.finished(result, cancelled=stop.reason is not None)
        if self._logger is not None:
            attempt = job.stored.attempt if job.stored is not None else 1
            await self._logger.alog(self._make_record(job.instruction, plan, result, job.source, attempt))
        if self._store is not None:
            # The log is on disk; if this note is lost, the next process finds the execution there.
            status: ExecutionStatus = "cancelled" if stop.reason is not None else "finished"
            noting = self._store.finish(job.id, result, status=status, reason=stop.reason or "")
            noting.add_done_callback(_warn)
        self._served.keep(job.instruction, plan, result)
        return Execution(plan, result)

    def _end(self, execution_id: str, status: ExecutionStatus, reason: str) -> None:
        if self._store is None or self._leaving:
            return  # left open: the next process goes on with it
        try:
            self._store.finish(execution_id, None, status=status, reason=reason).add_done_callback(_warn)
        except OrchestAIError as error:
            _log.warning("execution %s: its end was not noted: %s", execution_id, error)

    async def _make_plan(self, instruction: Instruction) -> Plan:
        ticket = self._served.ticket(instruction)  # versions may change while it is planned
        known = ticket.lane.plans.find(instruction)
        return self._served.sign(known or await ticket.lane.planner.plan(instruction), ticket)

    async def _why_ask(self, plan: Plan, verdict: ReflexVerdict | None) -> str | None:
        limit = self._approval.below_confidence
        if limit is not None and plan.confidence is not None and plan.confidence < limit:
            return f"the plan's confidence {plan.confidence:.2f} is below {limit:.2f}"
        for assignment in plan.assignments:
            if assignment.worker in self._workers.names and self._workers[assignment.worker].external_effects:
                if self._approval.external_effects:
                    return f"{assignment.worker!r} has effects outside"
                if self._guard is not None and verdict is not None and await self._guard.suspects(verdict):
                    return f"{assignment.worker!r} has effects outside, and the instruction looks like an attack"
                break
        return None

    async def _wait_for_approval(self, execution_id: str, plan: Plan, reason: str) -> None:
        expires = time.time() + self._approval.expires_s
        await _on_disk(self._need_store().wait(execution_id, plan, reason=reason, expires=expires))
        raise ApprovalNeededError(execution_id, reason, expires)

    async def join(self, execution_id: str) -> Execution:
        """Wait for the end of an execution that somebody started, here or in another process.

        Raises:
            ApprovalNeededError: It waits for a person.
            ExecutionStoppedError: It was ended without a result.
            InputError: It is not known.
        """
        store = self._need_store()
        while True:
            running = self._running.get(execution_id)
            if running is not None and running.task is not None:
                return await asyncio.shield(running.task)
            stored = await asyncio.to_thread(store.find, execution_id)
            if stored is None:
                raise InputError(f"Execution {execution_id!r} is no longer known.", remedy="Send a new key.")
            if stored.status == "waiting":
                raise ApprovalNeededError(execution_id, stored.reason or "", stored.expires or 0.0)
            if stored.plan is not None and stored.result is not None:
                return Execution(stored.plan, stored.result)
            if stored.status not in ("accepted", "running"):
                raise ExecutionStoppedError(stored.reason or stored.status)
            await self.resume(execution_id)
            await asyncio.sleep(_POLL_S)

    def _need_store(self) -> ExecutionStore:
        if self._store is None:
            raise InputError("This host keeps no state of executions.", remedy="Open the runtime with a log.")
        return self._store


async def _on_disk(future: Future[T]) -> T:
    """Wait until a write is on disk; a caller that is cancelled meanwhile does not take it back."""
    return await asyncio.shield(asyncio.wrap_future(future))


def _within(instruction: Instruction, spendable_usd: float | None) -> Instruction:
    budget = instruction.budget
    if spendable_usd is None or (budget.usd is not None and budget.usd <= spendable_usd):
        return instruction
    return instruction.model_copy(update={"budget": budget.model_copy(update={"usd": spendable_usd})})


def _warn(future: Future[None]) -> None:
    if (error := future.exception()) is not None:
        _log.warning("the end of an execution was not noted; the next start looks it up in the log: %s", error)
