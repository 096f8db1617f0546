"""The spans of one execution: itself, its planning, and each sub-task between its events."""

from __future__ import annotations

import logging
import time
from contextvars import Token

from opentelemetry import context as current
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from orchestai.contracts import ExecutionEvent, ExecutionResult, Instruction, Plan, SubtaskRecord
from orchestai.errors import OrchestAIError
from orchestai.telemetry import attributes as names
from orchestai.telemetry.content import ContentWriter
from orchestai.telemetry.facade import OnEvent
from orchestai.telemetry.reasons import error_code, fallback_reasons

_log = logging.getLogger(__name__)

_BAD = frozenset({"failed", "error"})


class ExecutionSpans:
    """Starts and ends the spans of one execution.

    The span of a sub-task is current in the task that runs it, so calls made there become its children. What is
    known of it only at the end (tokens, workers given up) is added then; its time is that of its events.

    Args:
        tracer: Makes the spans.
        content: Writes prompts and answers; null leaves them out.
        execution_id: Identity of the execution.
        instruction: What is asked.
        on_event: The host's own listener.
        parent: Context of the caller's span.
    """

    def __init__(
        self,
        tracer: Tracer,
        content: ContentWriter | None,
        execution_id: str,
        instruction: Instruction,
        on_event: OnEvent | None,
        parent: Context | None,
    ) -> None:
        self._tracer = tracer
        self._content = content
        self._id = execution_id
        self._instruction = instruction
        self._on_event = on_event
        self._parent = parent
        self._root: Span = INVALID_SPAN
        self._context = parent or Context()
        self._token: Token[Context] | None = None
        self._started_ns = 0
        self._plan: Plan | None = None
        self._open: dict[int, Span] = {}
        self._ended_ns: dict[int, int] = {}

    @property
    def recording(self) -> bool:
        """Whether anybody wants these spans; known from the start on."""
        return self._root.is_recording()

    def start(self) -> None:
        """Start the execution's span and make it the current one."""
        instruction = self._instruction
        self._started_ns = time.time_ns()
        self._root = self._tracer.start_span(
            "invoke_workflow orchestai",
            context=self._parent,
            kind=SpanKind.INTERNAL,
            start_time=self._started_ns,
            attributes={
                names.OPERATION: names.INVOKE_WORKFLOW,
                names.WORKFLOW: "orchestai",
                names.EXECUTION: self._id,
                names.TENANT: instruction.tenant,
                names.PRIORITY: instruction.priority,
            },
        )
        if instruction.session is not None:
            self._root.set_attribute(names.CONVERSATION, instruction.session)
        if self._content is not None:
            self._root.set_attribute(names.INSTRUCTION, self._content.text(instruction.text))
        self._context = set_span_in_context(self._root, self._parent)
        self._token = current.attach(self._context)

    def planned(self, plan: Plan, *, given: bool) -> None:
        """Note the plan; one that was made now has a span from the start until here."""
        self._plan = plan
        if not self._root.is_recording():
            return
        facts: dict[str, str | float | int | list[str]] = {
            names.PLANNER: plan.planner,
            names.SUBTASKS: len(plan.graph),
        }
        if plan.confidence is not None:
            facts[names.CONFIDENCE] = plan.confidence
        if plan.model_version is not None:
            facts[names.MODEL_VERSION] = plan.model_version
        self._root.set_attributes(facts)
        if not given:
            facts[names.FALLBACKS] = fallback_reasons(plan.fallback_reason)
            span = self._tracer.start_span("plan", self._context, start_time=self._started_ns, attributes=facts)
            span.end()

    def listener(self, event: ExecutionEvent) -> None:
        """Follow the execution, then tell the host."""
        if self._root.is_recording():
            try:
                self._follow(event)
            except Exception:  # a span that cannot be written must not keep the host from its event
                _log.exception("execution %s: a span was lost", self._id)
        if self._on_event is not None:
            self._on_event(event)

    def end(self, status: str, result: ExecutionResult | None, error: BaseException | None) -> None:
        """End every span."""
        if self._token is not None:
            current.detach(self._token)
            self._token = None
        if self._root.is_recording():
            if result is not None:
                for record in result.subtasks:
                    self._end_subtask(record)
                self._describe(result)
            for index in list(self._open):
                span = self._open.pop(index)
                span.set_status(Status(StatusCode.ERROR, status))
                span.end(self._ended_ns.get(index))
            self._root.set_attribute(names.STATUS, status)
            if error is not None:
                self._root.set_attribute(names.ERROR_TYPE, error_type(error))
            if status in _BAD:
                text = str(error) if error is not None else (result.error if result is not None else None) or ""
                self._root.set_status(Status(StatusCode.ERROR, self._content.text(text) if self._content else status))
        self._root.end()

    def _follow(self, event: ExecutionEvent) -> None:
        match event.status:
            case "running":
                self._begin_subtask(event)
            case "retrying":
                facts: dict[str, str | int] = {names.ATTEMPTS: event.attempt, names.WORKER: event.worker}
                if self._content is not None and event.error:
                    facts["exception.message"] = self._content.text(event.error)
                self._open.get(event.index, INVALID_SPAN).add_event("retry", facts)
            case "skipped":
                self._root.add_event("skipped", {names.INDEX: event.index})
            case "done" | "failed":
                self._ended_ns[event.index] = time.time_ns()

    def _begin_subtask(self, event: ExecutionEvent) -> None:
        task_type = ""
        if self._plan is not None:
            task_type = self._plan.graph.nodes[event.index].task_type
        span = self._open[event.index] = self._tracer.start_span(
            f"invoke_agent {task_type}".rstrip(),
            self._context,
            attributes={
                names.OPERATION: names.INVOKE_AGENT,
                names.AGENT: task_type,
                names.INDEX: event.index,
                names.TASK_TYPE: task_type,
            },
        )
        # The event comes from within the sub-task's own asyncio task, whose context ends with it: no detaching.
        current.attach(set_span_in_context(span, self._context))

    def _end_subtask(self, record: SubtaskRecord) -> None:
        span = self._open.pop(record.index, None)
        if span is None:  # done by an earlier attempt, or never started
            return
        facts: dict[str, str | int | float | bool | tuple[str, ...]] = {
            names.WORKER: record.worker,
            names.ATTEMPTS: record.attempts,
            names.USAGE_INPUT: record.input_tokens,
            names.USAGE_OUTPUT: record.output_tokens,
            names.COST: record.cost_usd,
            names.SIMULATED: record.simulated,
        }
        if record.gave_up:
            facts[names.GAVE_UP] = record.gave_up
        if record.prompt_version is not None:
            facts[names.PROMPT_VERSION] = record.prompt_version
        if record.status == "failed":
            facts[names.ERROR_TYPE] = error_code(record.error)
            text = self._content.text(record.error or "") if self._content is not None else None
            span.set_status(Status(StatusCode.ERROR, text))
        span.set_attributes(facts)
        span.end(self._ended_ns.pop(record.index, None))

    def _describe(self, result: ExecutionResult) -> None:
        self._root.set_attributes(
            {
                names.USAGE_INPUT: sum(record.input_tokens for record in result.subtasks),
                names.USAGE_OUTPUT: sum(record.output_tokens for record in result.subtasks),
                names.COST: result.total_cost,
                names.RETRIES: result.retry_count,
                names.SIMULATED: result.simulated,
            }
        )
        if self._content is not None:
            self._root.set_attribute(names.ANSWER, self._content.text(result.answer))


def error_type(error: BaseException) -> str:
    """Return what stands for an error where its message may not: our code, or the kind of a foreign one."""
    return error.code if isinstance(error, OrchestAIError) else type(error).__name__
