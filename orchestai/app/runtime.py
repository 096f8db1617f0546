"""Puts the parts together: planner, engine, workers and log of one project, for as long as a host needs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from orchestai.app.executions import Execution, Executions
from orchestai.app.guard import Guard, build_guard, guard_version
from orchestai.app.loop import HostLoop, LoopThread
from orchestai.app.places import executions_state
from orchestai.app.planning import build_planner
from orchestai.app.serving import ServedModels
from orchestai.app.workforce import Workforce
from orchestai.arms.registry import ArmRegistry
from orchestai.config import Project
from orchestai.contracts import ExecutionResult, Instruction, Plan
from orchestai.engine import Engine
from orchestai.engine.execution import OnEvent
from orchestai.engine.review import Reviewer
from orchestai.engine.store import ExecutionStore
from orchestai.logs import ExecutionLogger, ExecutionLogRecord, ExecutionSource, LogWatch
from orchestai.planner.planner import HybridPlanner
from orchestai.prompts import PromptLibrary
from orchestai.telemetry import Telemetry, open_telemetry
from orchestai.telemetry.sources import LimiterReading, Sources
from orchestai.workers import TenantLimiter

T = TypeVar("T")


class Runtime:
    """Everything that it takes to run instructions; made by `open_runtime`.

    Synchronous and asynchronous methods may be mixed, from any thread and any event loop: all work is done on
    one loop in a thread of its own, which holds the connections. `on_event` is called in that thread.

    Attributes:
        project: The configuration.
        served: Gives the planner of an instruction, by version.
        engine: Runs plans.
        logger: Takes down every execution before it is acknowledged; None when logging is off.
        store: What is to be done and what was done, for the process after this one; None without a log.
        executions: Accepts, runs, cancels and resumes; for hosts on the runtime's own event loop.
        workforce: The workers and the local servers behind them.
        telemetry: Metrics and traces.
    """

    def __init__(
        self,
        project: Project,
        *,
        served: ServedModels,
        engine: Engine,
        logger: ExecutionLogger | None,
        store: ExecutionStore | None,
        guard: Guard | None,
        workforce: Workforce,
        telemetry: Telemetry,
    ) -> None:
        self.project = project
        self.served = served
        self.engine = engine
        self.logger = logger
        self.store = store
        self.workforce = workforce
        self.telemetry = telemetry
        self.executions = Executions(
            served=served,
            engine=engine,
            logger=logger,
            store=store,
            guard=guard,
            workers=workforce.catalog,
            telemetry=telemetry,
            config=project.engine,
            make_record=self._record,
        )
        self._lock = threading.Lock()
        self._thread: HostLoop | None = None
        self._closed = False

    @property
    def planner(self) -> HybridPlanner:
        """The planner that is served by default."""
        return self.served.planner

    def live_here(self) -> None:
        """Do all work on the running event loop of the caller instead of one in a thread of its own.

        For a host with a loop of its own, such as the service: no call then changes threads. The host uses
        `executions` directly and ends with `aclose` on that loop.

        Raises:
            RuntimeError: The runtime works on another loop already, or no loop runs here.
        """
        with self._lock:
            if self._closed or self._thread is not None:
                raise RuntimeError("This runtime is closed or works on another loop: open another one.")
            self._thread = HostLoop()

    async def aplan(self, instruction: Instruction, *, execution_id: str | None = None) -> Plan:
        """Plan without running; `execution_id` as for `Executions.plan`.

        Raises:
            InfeasibleError: No choice of workers keeps to budget, success target and time limit.
            NoWorkerError: A sub-task needs a call that no worker answers.
        """
        return await self._hand_over(self.executions.plan(instruction, execution_id=execution_id))

    async def aexecute(
        self,
        instruction: Instruction,
        plan: Plan | None = None,
        *,
        source: ExecutionSource | None = None,
        on_event: OnEvent | None = None,
        on_plan: Callable[[str, Plan], None] | None = None,
        execution_id: str | None = None,
    ) -> Execution:
        """Plan (unless a plan is given), run, log; it returns when the log is on disk.

        Args:
            instruction: What is asked.
            plan: Graph and workers, if they are known.
            source: Where the instruction came from.
            on_event: Told of every change of state.
            on_plan: Told the execution's id and its plan before the first sub-task starts.
            execution_id: Identity of the execution; made when not given.

        Raises:
            ApprovalNeededError: A person has to allow the plan first; the execution waits on disk.
            NoWorkerError: A sub-task needs a call that no worker answers.
            StorageError: The log cannot be written.
        """
        return await self._hand_over(self._run(instruction, plan, source, on_event, on_plan, execution_id))

    def plan(self, instruction: Instruction, *, execution_id: str | None = None) -> Plan:
        """Plan without running; see `aplan`."""
        return self._call(self.executions.plan(instruction, execution_id=execution_id))

    def execute(
        self,
        instruction: Instruction,
        plan: Plan | None = None,
        *,
        source: ExecutionSource | None = None,
        on_event: OnEvent | None = None,
        on_plan: Callable[[str, Plan], None] | None = None,
        execution_id: str | None = None,
    ) -> Execution:
        """Plan, run, log; see `aexecute`."""
        return self._call(self._run(instruction, plan, source, on_event, on_plan, execution_id))

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses this runtime from synchronous code."""
        return self._call(coroutine)

    def log(self, instruction: Instruction, plan: Plan, result: ExecutionResult, source: ExecutionSource) -> None:
        """Take down an execution whose sub-tasks ran elsewhere (each in its own step of a Dagster run)."""
        if self.logger is not None:
            self.logger.log(self._record(instruction, plan, result, source))

    def close(self) -> None:
        """Close log, connections and local servers; closing twice is allowed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread, self._thread = self._thread, None
        self.served.close()
        try:
            if thread is not None:
                thread.close(self.workforce.aclose)
        finally:
            self.workforce.stop()
            try:
                if self.store is not None:
                    self.store.close()
            finally:
                self.telemetry.close()
                if self.logger is not None:
                    self.logger.close()

    async def aclose(self) -> None:
        """Close from asynchronous code; see `close`."""
        await asyncio.to_thread(self.close)

    def _run(
        self,
        instruction: Instruction,
        plan: Plan | None,
        source: ExecutionSource | None,
        on_event: OnEvent | None,
        on_plan: Callable[[str, Plan], None] | None,
        execution_id: str | None,
    ) -> Coroutine[Any, Any, Execution]:
        return self.executions.run(
            instruction,
            plan,
            source=source or ExecutionSource(),
            on_event=on_event,
            on_plan=on_plan,
            execution_id=execution_id,
        )

    def _record(
        self,
        instruction: Instruction,
        plan: Plan,
        result: ExecutionResult,
        source: ExecutionSource,
        attempt: int = 1,
    ) -> ExecutionLogRecord:
        return ExecutionLogRecord.of(
            instruction,
            plan,
            result,
            tasks=self.project.tasks,
            workers=self.project.workers,
            source=source,
            attempt=attempt,
        )

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        thread = self._open_thread(coroutine)
        if thread.is_current:
            coroutine.close()
            raise RuntimeError("A callback of this runtime cannot wait for it: use `await`.")
        return thread.call(coroutine)

    async def _hand_over(self, coroutine: Coroutine[Any, Any, T]) -> T:
        thread = self._open_thread(coroutine)
        if thread.is_current:
            return await coroutine
        return await asyncio.wrap_future(thread.submit(coroutine))

    def _open_thread(self, coroutine: Coroutine[Any, Any, T]) -> HostLoop:
        with self._lock:
            if self._closed:
                coroutine.close()
                raise RuntimeError("This runtime is closed: open another one.")
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread


@contextlib.contextmanager
def open_runtime(
    project: Project,
    *,
    mock: bool = False,
    log: bool = True,
    learned: bool = True,
    references: Mapping[str, str] | None = None,
    guarded: bool = True,
) -> Iterator[Runtime]:
    """Open the runtime of a project and close it at the end of the block; see `build_runtime`."""
    runtime = build_runtime(project, mock=mock, log=log, learned=learned, references=references, guarded=guarded)
    try:
        yield runtime
    finally:
        runtime.close()


def build_runtime(
    project: Project,
    *,
    mock: bool = False,
    log: bool = True,
    learned: bool = True,
    references: Mapping[str, str] | None = None,
    guarded: bool = True,
    metrics: bool = False,
) -> Runtime:
    """Build the runtime of a project; the caller closes it.

    Args:
        project: The configuration.
        mock: Let the simulator play every worker, in this process, without network; answers are marked.
        log: Write execution logs.
        learned: Use the learned planner where a checkpoint exists.
        references: Answers that simulated workers know, by instruction text.
        guarded: Let the reflex layer look at instructions; a collection runs what it is given, each time.
        metrics: Count for Prometheus; for hosts that are asked for metrics.

    Raises:
        StorageError: The log directory cannot be written.
        CheckpointError: The configured checkpoint cannot be used.
    """
    telemetry = open_telemetry(project.telemetry, project.settings, metrics=metrics)
    workforce = Workforce(project, mock=mock, references=references or {}, trace=telemetry.worker)
    prompts = PromptLibrary(project.prompts)
    limiter = TenantLimiter.for_catalog(workforce.catalog, project.engine.limits)
    engine = Engine(
        workforce,
        prompts,
        project.tasks,
        project.engine,
        profiles=workforce.catalog,
        slot=telemetry.slots(limiter.slot),
        reviewer=_reviewer(project, workforce),
        standings=ArmRegistry.of_catalog(workforce.catalog, project.arms.scoring, why_not=workforce.why_not),
        watch=workforce.watch,
    )
    served = ServedModels(
        project,
        lambda version: build_planner(version, workforce, prompts, learned=learned, stands_in=engine.may_stand_in),
        follow=learned,
    )
    logger = None
    store = None
    if log:
        watch = LogWatch(telemetry.log_written, telemetry.log_failed)
        logger = ExecutionLogger(project.paths.execution_logs, project.logs, watch=watch)
        store = ExecutionStore(executions_state(project), on_commit=telemetry.store_committed)
    guard = build_guard(project, served.identity) if guarded and project.reflex.enabled else None
    if guard is not None:
        served.on_change = lambda identity: guard.renew(guard_version(project, identity))
    served.start()
    _fill(telemetry.sources, workforce, limiter, guard)
    return Runtime(
        project,
        served=served,
        engine=engine,
        logger=logger,
        store=store,
        guard=guard,
        workforce=workforce,
        telemetry=telemetry,
    )


def _fill(sources: Sources, workforce: Workforce, limiter: TenantLimiter, guard: Guard | None) -> None:
    """Say where metrics are read that nobody counts for telemetry."""
    sources.breakers = lambda: [breaker.snapshot() for breaker in workforce.breakers.values()]
    sources.limits = lambda: [
        LimiterReading(name, limiter.running(name), limiter.waiting(name)) for name in workforce.catalog.names
    ]
    if workforce.watch is not None:
        sources.anomalies = workforce.watch.readings
    if guard is not None:
        sources.reflex = guard.pipeline.counters.snapshot


def _reviewer(project: Project, workforce: Workforce) -> Reviewer | None:
    name = project.engine.judge
    if name is None:
        return None
    return Reviewer(
        find=lambda: workforce[name], repairs=project.arms.judge_repairs, threshold=project.arms.judge_threshold
    )
