"""What all routes share: one runtime, and what stands between it and its callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.requests import Request

from orchestai.app.executions import Execution, Submitted
from orchestai.app.feedback import FeedbackDesk
from orchestai.app.runtime import Runtime
from orchestai.config import ServiceConfig
from orchestai.contracts import ExecutionResult, Instruction, Plan
from orchestai.engine.execution import OnEvent
from orchestai.errors import InputError
from orchestai.logs import ExecutionSource
from orchestai.service.admission import Admission, stopping
from orchestai.service.auth import Caller, Gatekeeper
from orchestai.service.bodies import BodyReader
from orchestai.service.context import current_request
from orchestai.service.dagster_report import DagsterReporter
from orchestai.service.metrics import ServiceMetrics
from orchestai.service.problems import ProblemError, problem_of_result
from orchestai.service.rates import Rates, Spending
from orchestai.service.tokens import TokenBook, TokenFile, token_file

_log = logging.getLogger(__name__)


class Service:
    """Runs instructions for callers over HTTP; lives on one event loop.

    Args:
        runtime: Runs them; it has a log, and so a store.
        config: Limits.
        metrics: Counts.

    Raises:
        InputError: The runtime keeps no log.
        ConfigError: Rates cannot be counted where the configuration says.
        StorageError: The tokens cannot be read.
    """

    def __init__(self, runtime: Runtime, config: ServiceConfig, metrics: ServiceMetrics) -> None:
        if runtime.store is None or runtime.logger is None:
            raise InputError("The service needs a runtime with a log.", remedy="Open it with `log=True`.")
        self.runtime = runtime
        self.config = config
        self.metrics = metrics
        self.store = runtime.store
        self.logger = runtime.logger
        self.executions = runtime.executions
        self.admission = Admission(config, metrics)
        self.bodies = BodyReader(config, metrics)
        self.spending = Spending(runtime.store)
        self.feedback = FeedbackDesk(runtime.project)
        tokens = TokenBook(config.tokens, TokenFile(token_file(runtime.project)))
        self.gatekeeper = Gatekeeper(tokens, Rates(config.rate_storage, config.failed_logins_per_minute))
        self._keeper: asyncio.Task[None] | None = None
        self._reporter: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start to take up what other processes left."""
        await asyncio.to_thread(self.spending.refresh)
        self._keeper = asyncio.create_task(self._look_after())
        if self.config.dagster_url is not None:
            reporter = DagsterReporter(self.config.dagster_url, self.config.dagster_every_s, self.store)
            self._reporter = asyncio.create_task(reporter.run())

    async def stop(self, grace_s: float) -> None:
        """Take nothing more on, let what runs finish, leave the rest to the next process."""
        self.admission.close()
        for task in (self._keeper, self._reporter):
            if task is not None:
                task.cancel()
        left = await self.executions.leave(grace_s)
        await asyncio.to_thread(self.feedback.close)
        if left:
            _log.warning("%d executions were left; the next start resumes them", left)

    async def run(self, caller: Caller, instruction: Instruction) -> Execution:
        """Run an instruction to its end; it goes on if the caller goes away.

        Raises:
            ProblemError: The service is full or stops, or the caller has spent its budget.
            OrchestAIError: As `Executions.run`.
        """
        spendable, reserved = self._reserve(caller, instruction)
        cost = 0.0
        try:
            await self.admission.enter(caller.tenant, instruction.priority)
            try:
                execution = await self.executions.run(
                    instruction, source=_source(caller), detached=True, spendable_usd=spendable
                )
            except asyncio.CancelledError:
                raise_if_left()
                raise
            finally:
                self.admission.leave(caller.tenant)
            cost = execution.result.total_cost
            return execution
        finally:
            self.spending.settle(caller.name, reserved, cost)

    def problem_of(self, result: ExecutionResult) -> ProblemError | None:
        """Say whether an execution failed for a reason that the HTTP status should tell."""
        return problem_of_result(result, self.runtime.workforce.retry_after_s)

    async def submit(
        self,
        caller: Caller,
        instruction: Instruction,
        *,
        on_event: OnEvent | None = None,
        on_plan: Callable[[str, Plan], None] | None = None,
        on_piece: Callable[[str], None] | None = None,
    ) -> Submitted:
        """Accept an instruction and return as soon as the promise to run it is on disk; raises as `run`."""
        spendable, reserved = self._reserve(caller, instruction)
        try:
            await self.admission.enter(caller.tenant, instruction.priority)
        except BaseException:
            self.spending.settle(caller.name, reserved, 0.0)
            raise

        def ended(cost: float) -> None:
            self.admission.leave(caller.tenant)
            self.spending.settle(caller.name, reserved, cost)

        try:
            submitted = await self.executions.submit(
                instruction,
                source=_source(caller),
                on_event=on_event,
                on_plan=on_plan,
                on_piece=on_piece,
                spendable_usd=spendable,
            )
        except BaseException:
            ended(0.0)
            raise
        if submitted.task is None:
            ended(0.0)
        else:
            submitted.task.add_done_callback(lambda task: ended(_cost_of(task)))
        return submitted

    async def approve(self, caller: Caller, execution_id: str, comment: str) -> None:
        """Let a waiting execution go on, here and now.

        Raises:
            ProblemError: The service is full or stops.
            InputError: It does not wait.
        """
        await self.admission.enter(caller.tenant, "normal")
        task = None
        try:
            await self.executions.decide(execution_id, approve=True, by=_by(caller, comment))
            task = (await self.executions.resume(execution_id)).get(execution_id)
        finally:
            if task is None:
                self.admission.leave(caller.tenant)
        if task is not None:
            task.add_done_callback(lambda _task: self.admission.leave(caller.tenant))

    async def reject(self, caller: Caller, execution_id: str, comment: str) -> None:
        """End a waiting execution.

        Raises:
            InputError: It does not wait.
        """
        await self.executions.decide(execution_id, approve=False, by=_by(caller, comment))

    async def flush(self) -> None:
        """Wait until what ended before can be read from the store."""
        await asyncio.wrap_future(self.store.flush())

    def _reserve(self, caller: Caller, instruction: Instruction) -> tuple[float | None, float]:
        if caller.budget_usd_per_day is None:
            return None, 0.0
        return self.spending.reserve(caller.name, caller.budget_usd_per_day, instruction.budget.usd)

    async def _look_after(self) -> None:
        """Take up what was left or approved elsewhere, end what nobody approved, count what others spent."""
        while True:
            try:
                taken_up = await self.executions.resume()
                if taken_up:
                    _log.info("%d executions taken up", len(taken_up))
                await asyncio.to_thread(self.spending.refresh)
            except Exception:  # a full disk now must not end this for good
                _log.exception("left executions could not be looked for")
            await asyncio.sleep(self.config.poll_s)


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service


def raise_if_left() -> None:
    """Say that the service stops, where an execution was let go of; nothing if the caller itself was cancelled.

    Raises:
        ProblemError: The execution goes on in the next process.
    """
    task = asyncio.current_task()
    if task is not None and not task.cancelling():
        raise stopping() from None


def _source(caller: Caller) -> ExecutionSource:
    request = current_request()
    return ExecutionSource(
        user=caller.name,
        request_id=request.request_id if request else None,
        traceparent=request.traceparent if request else None,
    )


def _by(caller: Caller, comment: str) -> str:
    return f"{caller.name}: {comment}" if comment else caller.name


def _cost_of(task: asyncio.Task[Execution]) -> float:
    if task.cancelled() or task.exception() is not None:
        return 0.0
    return task.result().result.total_cost
