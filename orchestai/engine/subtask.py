"""One sub-task from request to record: the planned worker with retries, then the next-best one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any

from orchestai.arms.registry import ArmRegistry
from orchestai.config import EngineConfig
from orchestai.contracts import (
    Assignment,
    Subtask,
    SubtaskRecord,
    Worker,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
    worst_case,
)
from orchestai.engine.ledger import Ledger, Reservation
from orchestai.engine.retry import call_with_retries
from orchestai.errors import (
    BreakerOpenError,
    BudgetExceededError,
    DeadlineExceededError,
    EndpointError,
    OrchestAIError,
    OverloadedError,
    WorkerError,
    WorkerRequestError,
    WorkerTimeoutError,
)
from orchestai.workers import stream_answer

Notify = Callable[..., None]
OnPiece = Callable[[str], None]


@dataclass(frozen=True)
class Revision:
    """An answer that was not accepted, and why."""

    answer: str
    reason: str


class SubtaskRun:
    """One pass over one sub-task, and what is counted meanwhile.

    Args:
        config: Attempts, pauses and time limits.
        ledger: Budget to reserve from.
        notify: Called with status and fields of the event at each change of state.
        slot: Gives leave to call a worker; waiting for it is not the worker's time.
        standings: How the workers do; decides who comes next when one failed.
        before_effect: Awaited before a call with external effects.
        on_piece: Told the answer in pieces as they come. What was told cannot be taken back, so that there is no
            other try once something was.
    """

    def __init__(
        self,
        config: EngineConfig,
        ledger: Ledger,
        *,
        notify: Notify | None,
        slot: Callable[[str], AbstractAsyncContextManager[None]],
        before_effect: Callable[[], Awaitable[None]],
        standings: ArmRegistry | None = None,
        on_piece: OnPiece | None = None,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._notify = notify or _ignore
        self._slot = slot
        self._before_effect = before_effect
        self._standings = standings
        self._on_piece = on_piece
        self._told = False
        self._started = time.monotonic()
        self._attempts = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._cost_usd = 0.0
        self._effect_begun = False
        self._names: list[str] = []
        self._profile: WorkerProfile | None = None
        self.errors: list[OrchestAIError] = []

    async def run(
        self, names: tuple[str, ...], find: Callable[[str], Worker], make: Callable[[str], WorkerRequest]
    ) -> WorkerOutput | None:
        """Try the planned worker, then the others as they do now; None if all failed, with the reasons in `errors`.

        Args:
            names: The workers, the planned one first.
            find: Gives a worker by name.
            make: Gives the request for a worker.
        """
        self._notify("running")
        left = names
        while left and len(self._names) < self._config.max_workers:
            if self._names and self._standings is not None:
                left = self._standings.order(left)
            name, left = left[0], left[1:]
            self._names.append(name)
            if len(self._names) > 1:
                self._notify("retrying", attempt=self._attempts, error=str(self.errors[-1]), worker=name)
            try:
                worker = find(name)
                self._profile = worker.profile
                return await self._attempts_at(worker, make(name))
            except OrchestAIError as error:
                self.errors.append(error)
                if self._effect_begun or self._told or not _another_may_help(error):
                    break
            except Exception as error:  # a worker with a bug must not take the other sub-tasks with it
                self.errors.append(OrchestAIError(f"{type(error).__name__}: {error}"))
                if self._effect_begun:
                    break
        return None

    def out_of_time(self, timeout_s: float | None) -> None:
        """Note that the time allowed for all attempts is over."""
        self.errors.append(DeadlineExceededError(f"The {timeout_s:g} s allowed for the sub-task are over."))

    def record(
        self,
        index: int,
        subtask: Subtask,
        assignment: Assignment,
        *,
        simulated: bool,
        output: WorkerOutput | None,
        prompt_version: str | None,
    ) -> tuple[SubtaskRecord, WorkerOutput]:
        """Return the record of the sub-task, and its output."""
        latency_ms = (time.monotonic() - self._started) * 1000
        failure = None
        if output is None:
            failure = f"{self.errors[-1].code}: {self.errors[-1]}"
            output = WorkerOutput(success=False, error=failure, latency_ms=latency_ms, cost=self._cost_usd)
        worker = self._names[-1] if self._names else assignment.worker
        if self._profile is not None:
            simulated = self._profile.simulated
        record = SubtaskRecord(
            index=index,
            task_type=subtask.task_type,
            description=subtask.description,
            worker=worker,
            gave_up=tuple(self._names[:-1]),
            simulated=simulated,
            status="done" if failure is None else "failed",
            attempts=self._attempts,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cost_usd=self._cost_usd,
            latency_ms=latency_ms,
            # The policy chose the planned worker; nobody chose the one that stood in.
            propensity=assignment.propensity if worker == assignment.worker else None,
            prompt_version=prompt_version,
            error=failure,
        )
        return record, output

    async def _attempts_at(self, worker: Worker, request: WorkerRequest) -> WorkerOutput:
        profile = worker.profile
        own_limit = "timeout_s" in profile.model_fields_set
        limit_s = request.timeout_s or (profile.timeout_s if own_limit else self._config.default_timeout_s)
        # The worker is told as well: its breaker counts a hang only if it knows the limit.
        request = request.model_copy(update={"timeout_s": limit_s})

        async def attempt() -> WorkerOutput:
            self._attempts += 1
            # An arm may turn one request into several calls.
            reservation = self._ledger.reserve(*worst_case(profile, request, getattr(worker, "max_calls", 1)))
            output = None
            failed = False
            began = time.monotonic()
            try:
                async with self._slot(profile.name):
                    if profile.external_effects:
                        await self._before_effect()
                        self._effect_begun = True
                    began = time.monotonic()
                    async with asyncio.timeout(limit_s):
                        with self._in_use(profile.name):
                            output = await self._ask(worker, request)
            except TimeoutError:
                failed = True
                message = f"No complete answer from {profile.name!r} within {limit_s:g} s."
                raise self._final(WorkerTimeoutError(message, worker=profile.name)) from None
            except WorkerError as error:
                failed = not isinstance(error, BreakerOpenError)  # that call was not made
                raise self._final(error) from error
            finally:
                self._settle(reservation, output)
                if output is not None or failed:
                    self._observe(profile.name, output, began)
            if not output.success:  # such as a program of an arm that ran into an error
                raise WorkerError(output.error or "The worker says that it failed.", worker=profile.name)
            return output

        if profile.external_effects:
            return await attempt()  # it may have happened although it failed: never a second time
        return await call_with_retries(attempt, self._config, self._tell_retry)

    def _in_use(self, name: str) -> AbstractContextManager[None]:
        standings = self._standings
        return nullcontext() if standings is None or name not in standings else standings.in_use(name)

    def _observe(self, name: str, output: WorkerOutput | None, began: float) -> None:
        if self._standings is not None and name in self._standings:
            self._standings.observe(
                name,
                success=output is not None and output.success,
                cost_usd=output.cost if output is not None else 0.0,
                latency_ms=(time.monotonic() - began) * 1000,
            )

    async def _ask(self, worker: Worker, request: WorkerRequest) -> WorkerOutput:
        if self._on_piece is None:
            return await worker.run(request)
        output = WorkerOutput(success=False, error="The answer had no end.")
        async with aclosing(stream_answer(worker, request)) as items:
            async for item in items:
                if isinstance(item, WorkerOutput):
                    output = item
                else:
                    self._told = True
                    self._on_piece(item)
        return output

    def _final(self, error: WorkerError) -> WorkerError:
        """Return the error as one that is not tried again, where part of an answer was told already."""
        return WorkerError(f"{error.code}: {error}", worker=error.worker) if self._told else error

    def _settle(self, reservation: Reservation, output: WorkerOutput | None) -> None:
        read, written = self._ledger.settle_output(reservation, output)
        self._input_tokens += read
        self._output_tokens += written
        self._cost_usd += output.cost if output is not None else 0.0

    def _tell_retry(self, error: OrchestAIError) -> None:
        self._notify("retrying", attempt=self._attempts, error=str(error))


def _another_may_help(error: OrchestAIError) -> bool:
    """Say whether another worker may succeed where one failed; a refused request stays a refused request."""
    if isinstance(error, WorkerRequestError):
        return False
    return isinstance(error, WorkerError | EndpointError | BudgetExceededError | OverloadedError)


def _ignore(*_status: Any, **_fields: Any) -> None:
    return None
