"""The DAG executor: a sub-task starts as soon as the last of its parents is done; levels are no barriers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from orchestai.config import EngineConfig
from orchestai.contracts import (
    ExecutionEvent,
    ExecutionResult,
    Instruction,
    Modality,
    Plan,
    SubtaskRecord,
    TaskCatalog,
    Worker,
    WorkerCatalog,
    WorkerOutput,
    WorkerRequest,
)
from orchestai.engine.integrate import assemble_result
from orchestai.engine.ledger import Ledger, Reservation, worst_case
from orchestai.engine.retry import call_with_retries
from orchestai.errors import DeadlineExceededError, OrchestAIError, WorkerTimeoutError
from orchestai.prompts import PromptLibrary
from orchestai.prompts.library import MEDIA

OnEvent = Callable[[ExecutionEvent], None]


class WorkerLookup(Protocol):
    """Gives a worker by name."""

    def __getitem__(self, name: str) -> Worker:
        """Return the worker called `name`."""


class Engine:
    """Runs plans. One instance serves many executions at a time on one event loop.

    Args:
        workers: Gives a worker by its name in the plan.
        prompts: Makes the prompt of a sub-task.
        tasks: Says which call and how many tokens a task type needs.
        config: Attempts, pauses, parallelism and default time limit.
        profiles: Facts of the workers, so that none is opened only to look at it; without them the workers
            themselves are asked.
    """

    def __init__(
        self,
        workers: WorkerLookup,
        prompts: PromptLibrary,
        tasks: TaskCatalog,
        config: EngineConfig,
        *,
        profiles: WorkerCatalog | None = None,
    ) -> None:
        self._workers = workers
        self._prompts = prompts
        self._tasks = tasks
        self._config = config
        self._profiles = profiles

    async def execute(
        self,
        instruction: Instruction,
        plan: Plan,
        *,
        execution_id: str | None = None,
        on_event: OnEvent | None = None,
    ) -> ExecutionResult:
        """Run every sub-task of `plan` and combine the answer.

        A sub-task that fails takes those that wait for it with it (`skipped`) and leaves the others alone.
        When the time allowed is over, what runs is cancelled and what is done is kept. Nothing is raised for
        a failing worker: the result says what happened.

        Args:
            instruction: What the user asked; its budget limits the execution.
            plan: Graph and workers.
            execution_id: Identity of the execution; made when not given.
            on_event: Told of every change of state.
        """
        execution = _Execution(self, instruction, plan, execution_id or uuid.uuid4().hex, on_event)
        return await execution.run()

    async def run_subtask(
        self,
        instruction: Instruction,
        plan: Plan,
        index: int,
        dependency_outputs: Mapping[int, Any],
        *,
        ledger: Ledger | None = None,
        notify: Callable[..., None] | None = None,
        timeout_s: float | None = None,
    ) -> tuple[SubtaskRecord, WorkerOutput]:
        """Run one sub-task with its retries; a failure is in the record, not raised.

        Args:
            instruction: What the user asked.
            plan: Graph and workers.
            index: Which sub-task.
            dependency_outputs: Content of its parents by index.
            ledger: Budget to reserve from; that of the instruction when not given.
            notify: Called with status and fields of the event at each change of state.
            timeout_s: Time allowed for all attempts, when no surrounding execution limits it.
        """
        subtask = plan.graph.nodes[index]
        assignment = plan.assignments[index]
        ledger = ledger or Ledger(instruction.budget)
        run = _SubtaskRun(notify)
        worker: Worker | None = None
        request: WorkerRequest | None = None
        output = WorkerOutput(success=False)
        try:
            worker = self._workers[assignment.worker]
            request = self._request(instruction, plan, index, dependency_outputs)
            run.start()
            async with asyncio.timeout(timeout_s):
                output = await self._attempts(worker, request, ledger, run)
        except TimeoutError:
            run.error = DeadlineExceededError(f"The {timeout_s} s allowed for the sub-task are over.")
        except OrchestAIError as error:
            run.error = error
        except Exception as error:  # a worker with a bug must not take the other sub-tasks with it
            run.error = OrchestAIError(f"{type(error).__name__}: {error}")
        latency_ms = run.elapsed_ms()
        failure = None if run.error is None else f"{run.error.code}: {run.error}"
        if failure is not None:
            output = WorkerOutput(success=False, error=failure, latency_ms=latency_ms, cost=run.cost_usd)
        record = SubtaskRecord(
            index=index,
            task_type=subtask.task_type,
            description=subtask.description,
            worker=assignment.worker,
            simulated=worker.profile.simulated if worker is not None else self.is_simulated(assignment.worker),
            status="done" if failure is None else "failed",
            attempts=run.attempts,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            cost_usd=run.cost_usd,
            latency_ms=latency_ms,
            propensity=assignment.propensity,
            prompt_version=request.prompt_version if request is not None else None,
            error=failure,
        )
        return record, output

    def assemble(
        self,
        instruction: Instruction,
        plan: Plan,
        records: Mapping[int, SubtaskRecord],
        outputs: Mapping[int, WorkerOutput],
        *,
        execution_id: str,
        total_latency_ms: float,
    ) -> ExecutionResult:
        """Combine what sub-tasks gave into the result; those without a record count as skipped."""
        return assemble_result(
            instruction,
            plan,
            records,
            outputs,
            execution_id=execution_id,
            total_latency_ms=total_latency_ms,
            is_simulated=self.is_simulated,
        )

    def is_simulated(self, name: str) -> bool:
        """Say whether a worker is simulated; one that the catalog lost, or that cannot be opened, is not."""
        try:
            profile = self._workers[name].profile if self._profiles is None else self._profiles[name]
        except OrchestAIError:
            return False
        return profile.simulated

    async def _attempts(self, worker: Worker, request: WorkerRequest, ledger: Ledger, run: _SubtaskRun) -> WorkerOutput:
        own_limit = "timeout_s" in worker.profile.model_fields_set
        limit_s = request.timeout_s or (worker.profile.timeout_s if own_limit else self._config.default_timeout_s)

        async def attempt() -> WorkerOutput:
            run.attempts += 1
            usd, tokens = worst_case(worker.profile, request)
            reservation = ledger.reserve(usd, tokens)
            output = None
            try:
                async with asyncio.timeout(limit_s):
                    output = await worker.run(request)
            except TimeoutError:
                message = f"No complete answer from {worker.profile.name!r} within {limit_s:g} s."
                raise WorkerTimeoutError(message, worker=worker.profile.name) from None
            finally:
                run.settle(ledger, reservation, output)
            return output

        return await call_with_retries(attempt, self._config, run.retrying)

    def _request(
        self, instruction: Instruction, plan: Plan, index: int, dependency_outputs: Mapping[int, Any]
    ) -> WorkerRequest:
        subtask = plan.graph.nodes[index]
        task_type = self._tasks[subtask.task_type]
        prompt = self._prompts.render(
            subtask.task_type,
            instruction=instruction,
            subtask=subtask,
            dependencies={parent: str(content) for parent, content in dependency_outputs.items()},
        )
        media = {} if task_type.modality is Modality.CHAT else _media(instruction)
        return WorkerRequest(
            task_type=subtask.task_type,
            modality=task_type.modality,
            system=prompt.system,
            prompt=prompt.prompt,
            inputs=media,
            max_output_tokens=task_type.max_output_tokens,
            prompt_version=prompt.version,
        )

    @property
    def max_parallel(self) -> int | None:
        """Sub-tasks of one execution that may run at a time; None means no limit."""
        return self._config.max_parallel


def _media(instruction: Instruction) -> dict[str, str]:
    return {name: value for name, value in instruction.inputs.items() if name.startswith(MEDIA)}


class _SubtaskRun:
    """What is counted while one sub-task runs."""

    def __init__(self, notify: Callable[..., None] | None) -> None:
        self._notify = notify or (lambda *_args, **_fields: None)
        self._started = time.monotonic()
        self.attempts = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd = 0.0
        self.error: OrchestAIError | None = None

    def start(self) -> None:
        self._started = time.monotonic()
        self._notify("running")

    def elapsed_ms(self) -> float:
        return (time.monotonic() - self._started) * 1000

    def settle(self, ledger: Ledger, reservation: Reservation, output: WorkerOutput | None) -> None:
        if output is None:
            ledger.settle(reservation, 0.0, 0)
            return
        input_tokens = int(output.metadata.get("input_tokens") or 0)
        output_tokens = int(output.metadata.get("output_tokens") or 0)
        ledger.settle(reservation, output.cost, input_tokens + output_tokens)
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_usd += output.cost

    def retrying(self, error: OrchestAIError) -> None:
        self._notify("retrying", attempt=self.attempts, error=str(error))


class _Execution:
    """State of one pass over a plan."""

    def __init__(
        self,
        engine: Engine,
        instruction: Instruction,
        plan: Plan,
        execution_id: str,
        on_event: OnEvent | None,
    ) -> None:
        self._engine = engine
        self._instruction = instruction
        self._plan = plan
        self._id = execution_id
        self._on_event = on_event
        self._ledger = Ledger(instruction.budget)
        self._records: dict[int, SubtaskRecord] = {}
        self._outputs: dict[int, WorkerOutput] = {}
        limit = engine.max_parallel
        self._parallel = asyncio.Semaphore(limit) if limit is not None else None

    async def run(self) -> ExecutionResult:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._instruction.budget.seconds):
                await self._run_ready_set()
        except TimeoutError:
            self._fail_open_subtasks()
        return self._engine.assemble(
            self._instruction,
            self._plan,
            self._records,
            self._outputs,
            execution_id=self._id,
            total_latency_ms=(time.monotonic() - started) * 1000,
        )

    async def _run_ready_set(self) -> None:
        dependencies = self._plan.graph.dependencies
        waiting = {node: set(parents) for node, parents in enumerate(dependencies)}
        running: dict[asyncio.Task[None], int] = {}
        try:
            while waiting or running:
                for node in [node for node, parents in waiting.items() if not parents]:
                    del waiting[node]
                    running[asyncio.create_task(self._run_one(node))] = node
                if not running:
                    for node in waiting:  # what still waits, waits for something that failed
                        self._emit(node, "skipped")
                    break
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    node = running.pop(task)
                    task.result()
                    if self._records[node].status == "done":
                        for parents in waiting.values():
                            parents.discard(node)
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    async def _run_one(self, node: int) -> None:
        parents = self._plan.graph.dependencies[node]
        contents = {parent: self._outputs[parent].content for parent in parents}

        def notify(status: Any, **fields: Any) -> None:
            self._emit(node, status, **fields)

        run = self._engine.run_subtask(
            self._instruction, self._plan, node, contents, ledger=self._ledger, notify=notify
        )
        if self._parallel is None:
            record, output = await run
        else:
            async with self._parallel:
                record, output = await run
        self._records[node], self._outputs[node] = record, output
        self._emit(
            node,
            record.status,
            attempt=record.attempts,
            cost_usd=record.cost_usd,
            latency_ms=record.latency_ms,
            error=record.error,
        )

    def _fail_open_subtasks(self) -> None:
        seconds = self._instruction.budget.seconds
        error = DeadlineExceededError(f"The {seconds:g} s allowed for the execution are over.")
        for node, subtask in enumerate(self._plan.graph.nodes):
            if node not in self._records:
                failure = f"{error.code}: {error}"
                self._records[node] = SubtaskRecord(
                    index=node,
                    task_type=subtask.task_type,
                    description=subtask.description,
                    worker=self._plan.assignments[node].worker,
                    simulated=self._engine.is_simulated(self._plan.assignments[node].worker),
                    status="failed",
                    error=failure,
                )
                self._emit(node, "failed", error=failure)

    def _emit(self, node: int, status: Any, **fields: Any) -> None:
        if self._on_event is not None:
            worker = self._plan.assignments[node].worker
            self._on_event(ExecutionEvent(execution_id=self._id, index=node, status=status, worker=worker, **fields))
