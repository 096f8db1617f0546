"""A span for each call of a worker, below the sub-task that makes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span

from orchestai.contracts import StreamingWorker, Worker, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.telemetry import attributes as names
from orchestai.telemetry.content import ContentWriter
from orchestai.telemetry.spans import error_type


class TracedWorker:
    """A worker whose calls have spans; a call that belongs to no traced execution has none.

    Args:
        worker: Who does the work.
        tracer: Makes the spans.
        content: Writes prompts and answers; null leaves them out.
    """

    def __init__(self, worker: Worker, tracer: Tracer, content: ContentWriter | None) -> None:
        self._worker = worker
        self._tracer = tracer
        self._content = content
        self._server = names.server(worker.profile)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._worker!r})"

    @property
    def profile(self) -> WorkerProfile:
        """Facts of the worker."""
        return self._worker.profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task; see `Worker.run`."""
        if not get_current_span().is_recording():
            return await self._worker.run(request)
        span = self._start(request)
        try:
            output = await self._worker.run(request)
        except BaseException as error:
            self._fail(span, error)
            raise
        else:
            self._succeed(span, output)
            return output
        finally:
            span.end()

    async def aclose(self) -> None:
        """Close the worker."""
        await self._worker.aclose()

    def _start(self, request: WorkerRequest) -> Span:
        profile = self._worker.profile
        kind = names.operation(request.modality)
        span = self._tracer.start_span(
            f"{kind} {profile.model}",
            kind=SpanKind.CLIENT,
            attributes={
                names.OPERATION: kind,
                names.REQUEST_MODEL: profile.model,
                names.REQUEST_MAX_TOKENS: request.max_output_tokens,
                names.REQUEST_TEMPERATURE: request.temperature,
                names.WORKER: profile.name,
                names.SIMULATED: profile.simulated,
                **self._server,
            },
        )
        if self._content is not None:
            if request.system:
                span.set_attribute(names.SYSTEM_INSTRUCTIONS, self._content.parts(request.system))
            span.set_attribute(names.INPUT_MESSAGES, self._content.message("user", request.prompt))
        return span

    def _succeed(self, span: Span, output: WorkerOutput) -> None:
        facts: dict[str, str | int | float | tuple[str, ...]] = {names.COST: output.cost}
        known = output.metadata
        for key, name in (("input_tokens", names.USAGE_INPUT), ("output_tokens", names.USAGE_OUTPUT)):
            if isinstance(known.get(key), int):
                facts[name] = known[key]
        if known.get("model"):
            facts[names.RESPONSE_MODEL] = str(known["model"])
        reason = str(known["finish_reason"]) if known.get("finish_reason") else None
        if reason is not None:
            facts[names.RESPONSE_FINISH_REASONS] = (reason,)
        if self._content is not None:
            facts[names.OUTPUT_MESSAGES] = self._content.message("assistant", str(output.content), finish_reason=reason)
        span.set_attributes(facts)

    def _fail(self, span: Span, error: BaseException) -> None:
        span.set_attribute(names.ERROR_TYPE, error_type(error))
        # A provider's message may quote the prompt: it counts as content.
        text = self._content.text(str(error)) if self._content is not None else None
        span.set_status(Status(StatusCode.ERROR, text))


class TracedStreamingWorker(TracedWorker):
    """The same for a worker that gives its answer in pieces."""

    def __init__(self, worker: StreamingWorker, tracer: Tracer, content: ContentWriter | None) -> None:
        super().__init__(worker, tracer, content)
        self._streaming = worker

    async def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        """Do one sub-task in pieces; see `StreamingWorker.stream`."""
        span = self._start(request) if get_current_span().is_recording() else None
        try:
            async with aclosing(self._streaming.stream(request)) as items:
                async for item in items:
                    if span is not None and isinstance(item, WorkerOutput):
                        self._succeed(span, item)
                    yield item
        except GeneratorExit:
            raise  # the reader had enough: that is no failure
        except BaseException as error:
            if span is not None:
                self._fail(span, error)
            raise
        finally:
            if span is not None:
                span.end()
