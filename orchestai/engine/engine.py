"""The engine: runs plans, and single sub-tasks for hosts that place each in a step of their own."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from orchestai.arms.registry import ArmRegistry
from orchestai.config import EngineConfig
from orchestai.contracts import (
    ExecutionResult,
    Instruction,
    Modality,
    Plan,
    Review,
    SubtaskRecord,
    TaskCatalog,
    Worker,
    WorkerCatalog,
    WorkerOutput,
    WorkerRequest,
)
from orchestai.engine.answers import StandIns
from orchestai.engine.execution import Execution, OnEvent, Stop
from orchestai.engine.integrate import assemble_result
from orchestai.engine.journal import Journal, NoJournal
from orchestai.engine.ledger import Ledger
from orchestai.engine.review import Reviewer
from orchestai.engine.subtask import OnPiece, Revision, SubtaskRun
from orchestai.errors import BreakerOpenError, OrchestAIError
from orchestai.prompts import PromptLibrary
from orchestai.prompts.library import MEDIA


class WorkerLookup(Protocol):
    """Gives a worker by name."""

    def __getitem__(self, name: str) -> Worker:
        """Return the worker called `name`."""


class SubtaskWatch(Protocol):
    """Looks at what workers do; `orchestai.routing.anomaly.watch.BehaviourWatch` is one."""

    def ended(self, record: SubtaskRecord) -> float | None:
        """Take in a sub-task that ended; return how unusual its worker is by now."""

    def judged(self, result: ExecutionResult) -> None:
        """Take in what the checks said of an execution."""


_log = logging.getLogger(__name__)

Slots = Callable[[str, str], AbstractAsyncContextManager[None]]


class Engine:
    """Runs plans. One instance serves many executions at a time on one event loop.

    Args:
        workers: Gives a worker by its name in the plan.
        prompts: Makes the prompt of a sub-task.
        tasks: Says which call and how many tokens a task type needs.
        config: Attempts, pauses, parallelism and default time limit.
        profiles: Facts of the workers, so that none is opened only to look at it; without them the workers
            themselves are asked.
        slot: Gives a tenant leave to call a worker, and takes it back at the end of the block.
        reviewer: Judges answers and lets them be mended.
        standings: How the workers do; decides who comes next when one failed. Without it the plan's order holds.
        watch: Looks at what workers do.
    """

    def __init__(
        self,
        workers: WorkerLookup,
        prompts: PromptLibrary,
        tasks: TaskCatalog,
        config: EngineConfig,
        *,
        profiles: WorkerCatalog | None = None,
        slot: Slots | None = None,
        reviewer: Reviewer | None = None,
        standings: ArmRegistry | None = None,
        watch: SubtaskWatch | None = None,
    ) -> None:
        self._watch = watch
        self._workers = workers
        self._prompts = prompts
        self._tasks = tasks
        self._config = config
        self._profiles = profiles
        self._slot = slot or _no_limit
        self._standings = standings
        self.reviewer = reviewer
        self._stand_ins = StandIns(config.stand_ins, config.default_answer)

    async def execute(
        self,
        instruction: Instruction,
        plan: Plan,
        *,
        execution_id: str | None = None,
        on_event: OnEvent | None = None,
        journal: Journal | None = None,
        stop: Stop | None = None,
        on_piece: OnPiece | None = None,
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
            journal: Keeps the progress for a process after this one, and knows that of one before it.
            stop: Lets the caller end the execution and keep what is done.
            on_piece: Told the answer in pieces as they come, where the answer is that of one sub-task and no judge
                may have it written anew; else never called.
        """
        execution = Execution(
            self,
            instruction,
            plan,
            execution_id or uuid.uuid4().hex,
            on_event=on_event,
            journal=journal or NoJournal(),
            stop=stop or Stop(),
            on_piece=on_piece,
        )
        result = await execution.run()
        if self._watch is not None:
            try:
                self._watch.judged(result)
            except Exception:  # who only looks on must not harm the execution
                _log.exception("execution %s: the watch failed", result.execution_id)
        return result

    async def run_subtask(
        self,
        instruction: Instruction,
        plan: Plan,
        index: int,
        dependency_outputs: Mapping[int, Any],
        *,
        ledger: Ledger | None = None,
        notify: Callable[..., None] | None = None,
        journal: Journal | None = None,
        timeout_s: float | None = None,
        revision: Revision | None = None,
        on_piece: OnPiece | None = None,
    ) -> tuple[SubtaskRecord, WorkerOutput]:
        """Run one sub-task with its retries; a failure is in the record, not raised.

        Args:
            instruction: What the user asked.
            plan: Graph and workers.
            index: Which sub-task.
            dependency_outputs: Content of its parents by index.
            ledger: Budget to reserve from; that of the instruction when not given.
            notify: Called with status and fields of the event at each change of state.
            journal: Told before a call with external effects.
            timeout_s: Time allowed for all attempts, when no surrounding execution limits it.
            revision: What came of it before and why that was not accepted.
            on_piece: Told the answer in pieces as they come.
        """
        subtask = plan.graph.nodes[index]
        assignment = plan.assignments[index]
        keeper = journal or NoJournal()
        run = SubtaskRun(
            self._config,
            ledger or Ledger(instruction.budget),
            notify=notify,
            slot=lambda name: self._slot(instruction.tenant, name),
            before_effect=lambda: keeper.begin(index),
            standings=self._standings,
            on_piece=on_piece,
        )
        request: WorkerRequest | None = None
        output: WorkerOutput | None = None
        try:
            request = made = self._request(instruction, plan, index, dependency_outputs, revision)

            def make(name: str) -> WorkerRequest:
                # An arm may use all of the material: code to run, documents to search.
                return made.model_copy(update={"inputs": instruction.inputs}) if self._is_arm(name) else made

            async with asyncio.timeout(timeout_s) if timeout_s is not None else nullcontext():
                names = (assignment.worker, *assignment.alternatives)
                output = await run.run(names, self._workers.__getitem__, make)
        except TimeoutError:
            run.out_of_time(timeout_s)
        except OrchestAIError as error:
            run.errors.append(error)
        if output is not None and request is not None:
            self._stand_ins.keep(instruction.tenant, request, output)
        elif request is not None and any(isinstance(error, BreakerOpenError) for error in run.errors):
            output = self._stand_ins.find(instruction.tenant, request)
        return run.record(
            index,
            subtask,
            assignment,
            simulated=self.is_simulated(assignment.worker),
            output=output,
            prompt_version=request.prompt_version if request is not None else None,
        )

    def assemble(
        self,
        instruction: Instruction,
        plan: Plan,
        records: Mapping[int, SubtaskRecord],
        outputs: Mapping[int, WorkerOutput],
        *,
        execution_id: str,
        total_latency_ms: float,
        review: Review | None = None,
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
            review=review,
        )

    def may_stand_in(self, tenant: str) -> bool:
        """Say whether an answer may be there for a tenant while all workers of a sub-task are away."""
        return self._stand_ins.may_have(tenant)

    def is_simulated(self, name: str) -> bool:
        """Say whether a worker is simulated; one that the catalog lost, or that cannot be opened, is not."""
        try:
            profile = self._workers[name].profile if self._profiles is None else self._profiles[name]
        except OrchestAIError:
            return False
        return profile.simulated

    def watched(self, record: SubtaskRecord) -> float | None:
        """Let the watch see a sub-task that ended; None where nobody watches its worker."""
        if self._watch is None:
            return None
        try:
            return self._watch.ended(record)
        except Exception:  # who only looks on must not harm the execution
            _log.exception("sub-task %d of %s: the watch failed", record.index, record.worker)
            return None

    @property
    def max_parallel(self) -> int | None:
        """Sub-tasks of one execution that may run at a time; None means no limit."""
        return self._config.max_parallel

    def _is_arm(self, name: str) -> bool:
        return self._profiles is not None and name in self._profiles.names and self._profiles[name].arm is not None

    def _request(
        self,
        instruction: Instruction,
        plan: Plan,
        index: int,
        dependency_outputs: Mapping[int, Any],
        revision: Revision | None = None,
    ) -> WorkerRequest:
        subtask = plan.graph.nodes[index]
        task_type = self._tasks[subtask.task_type]
        prompt = self._prompts.render(
            subtask.task_type,
            instruction=instruction,
            subtask=subtask,
            dependencies={parent: str(content) for parent, content in dependency_outputs.items()},
            label=plan.serving.prompts.get(subtask.task_type) if plan.serving is not None else None,
        )
        if revision is not None:
            prompt = self._prompts.render_revision(prompt, answer=revision.answer, reason=revision.reason)
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


def _no_limit(_tenant: str, _worker: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


def _media(instruction: Instruction) -> dict[str, str]:
    return {name: value for name, value in instruction.inputs.items() if name.startswith(MEDIA)}
