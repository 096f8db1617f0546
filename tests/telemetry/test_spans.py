"""The spans of executions, sub-tasks and calls: their tree, their times, and what never stands in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes, server_attributes
from opentelemetry.trace import INVALID_SPAN, StatusCode, get_current_span

from orchestai.config import Project
from orchestai.contracts import (
    Assignment,
    ExecutionEvent,
    StreamingWorker,
    Worker,
    WorkerOutput,
    WorkerProfile,
    WorkerRequest,
)
from orchestai.errors import WorkerAuthError, WorkerUnavailableError
from orchestai.telemetry import attributes as names
from orchestai.telemetry.tracing import Tracing
from orchestai.telemetry.watch import LiveTelemetry
from tests.engine.scripted import ScriptedWorker, answer, make_plan
from tests.telemetry.harness import INSTRUCTION, run_watched
from tests.telemetry.test_metrics import failing

KEY = "sk-live-0123456789abcdef"
DIAMOND = ((), (0,), (0,), (1, 2))


@pytest.fixture
def traced(provider: TracerProvider) -> LiveTelemetry:
    return LiveTelemetry(tracing=Tracing(provider))


@pytest.fixture
def telling(provider: TracerProvider) -> LiveTelemetry:
    """Return telemetry that may write content."""
    return LiveTelemetry(tracing=Tracing(provider, content=True, secrets=[KEY]))


def named(spans: InMemorySpanExporter, start: str) -> list[ReadableSpan]:
    found = [span for span in spans.get_finished_spans() if span.name.startswith(start)]
    return sorted(found, key=lambda span: span.start_time or 0)


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_the_tree_of_a_diamond(project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter) -> None:
    """The engine runs several nodes in one asyncio task: each call must still hang below its own sub-task."""
    workers = {f"w{i}": ScriptedWorker(f"w{i}", answer(f"A{i}", cost=0.5, after_s=0.02, tokens=7)) for i in range(4)}
    plan = make_plan(DIAMOND).model_copy(update={"confidence": 0.5})
    result = await run_watched(traced, project, workers, plan)
    assert result.success
    (root,) = named(spans, "invoke_workflow")
    (planning,) = named(spans, "plan")
    subtasks = named(spans, "invoke_agent generation")
    calls = named(spans, "chat")
    assert len(spans.get_finished_spans()) == 1 + 1 + 4 + 4
    assert root.parent is None
    assert planning.parent is not None
    assert planning.parent.span_id == root.context.span_id
    by_index = {facts(span)[names.INDEX]: span for span in subtasks}
    assert sorted(by_index) == [0, 1, 2, 3]
    for index, span in by_index.items():
        assert span.parent is not None
        assert span.parent.span_id == root.context.span_id
        (call,) = [call for call in calls if facts(call)[names.REQUEST_MODEL] == f"w{index}"]
        assert call.parent is not None
        assert call.parent.span_id == span.context.span_id
        assert (span.start_time or 0) <= (call.start_time or 0) < (call.end_time or 0) <= (span.end_time or 0)
    assert (by_index[3].start_time or 0) >= max(by_index[1].end_time or 0, by_index[2].end_time or 0) - 5_000_000
    assert (by_index[0].end_time or 0) < (by_index[3].start_time or 0), (
        "a sub-task ends when it ends, not with the execution"
    )
    assert facts(root)[names.USAGE_INPUT] == 28
    assert facts(root)[names.COST] == 2.0
    assert facts(root)[names.STATUS] == "succeeded"
    assert facts(root)[names.CONFIDENCE] == 0.5
    assert facts(root)[names.CONVERSATION] == "s-1"
    assert get_current_span() is INVALID_SPAN, "what comes next belongs to no execution"


async def test_a_calls_attributes_follow_the_conventions(
    project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter
) -> None:
    async def run(_request: WorkerRequest) -> WorkerOutput:
        metadata = {"input_tokens": 11, "output_tokens": 5, "model": "gpt-x-2026", "finish_reason": "stop"}
        return WorkerOutput(content="A", cost=0.125, metadata=metadata)

    worker = ScriptedWorker("w0", run, model="gpt-x", base_url="https://user:pw@api.openai.com:8443/v1?key=abc")
    await run_watched(traced, project, {"w0": worker}, make_plan(((),)))
    (call,) = named(spans, "chat gpt-x")
    assert facts(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.request.max_tokens": project.tasks["generation"].max_output_tokens,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.response.model": "gpt-x-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 5,
        "server.address": "api.openai.com",
        "server.port": 8443,
        "orchestai.worker": "w0",
        "orchestai.simulated": False,
        "orchestai.cost_usd": 0.125,
    }
    assert call.kind.name == "CLIENT"


def test_the_names_are_those_of_the_conventions() -> None:
    known = {
        value
        for module in (gen_ai_attributes, error_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    borrowed = {value for value in ours if value.startswith(("gen_ai.", "error.", "server."))}
    assert len(borrowed) >= 17
    assert borrowed <= known
    operations = {member.value for member in gen_ai_attributes.GenAiOperationNameValues}
    assert {names.INVOKE_WORKFLOW, names.INVOKE_AGENT, *names._OPERATIONS.values()} <= operations


async def test_retries_and_other_workers(project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter) -> None:
    plan = make_plan(((),)).model_copy(update={"assignments": (Assignment(worker="w0", alternatives=("w1",)),)})
    workers = {
        "w0": ScriptedWorker("w0", failing(9, WorkerUnavailableError("down", worker="w0"))),
        "w1": ScriptedWorker("w1", answer("B")),
    }
    await run_watched(traced, project, workers, plan, max_attempts=2)
    calls = named(spans, "chat")
    assert [call.name for call in calls] == ["chat w0", "chat w0", "chat w1"]
    assert [call.status.status_code for call in calls] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert facts(calls[0])[names.ERROR_TYPE] == "worker_unavailable"
    (subtask,) = named(spans, "invoke_agent")
    assert [event.name for event in subtask.events] == ["retry", "retry"]
    assert facts(subtask)[names.GAVE_UP] == ("w0",)
    assert facts(subtask)[names.ATTEMPTS] == 3
    assert subtask.status.status_code is StatusCode.UNSET


async def test_a_failed_execution(project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter) -> None:
    workers = {
        "w0": ScriptedWorker("w0", failing(9, WorkerAuthError("the key sk-1 is wrong", worker="w0"))),
        "w1": ScriptedWorker("w1", answer("never")),
    }
    await run_watched(traced, project, workers, make_plan(((), (0,))))
    (root,) = named(spans, "invoke_workflow")
    (subtask,) = named(spans, "invoke_agent")
    assert root.status.status_code is StatusCode.ERROR
    assert facts(subtask)[names.ERROR_TYPE] == "worker_auth"
    assert [(event.name, dict(event.attributes or {})) for event in root.events] == [("skipped", {names.INDEX: 1})]


async def test_an_execution_that_is_cut_off_closes_all_spans(
    project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter
) -> None:
    began = asyncio.Event()

    async def hang(_request: WorkerRequest) -> WorkerOutput:
        began.set()
        await asyncio.sleep(60)
        raise AssertionError

    worker = ScriptedWorker("w0", hang)
    task = asyncio.create_task(run_watched(traced, project, {"w0": worker}, make_plan(((),))))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [span.name for span in spans.get_finished_spans() if span.end_time is None] == []
    assert {span.name for span in spans.get_finished_spans()} == {
        "invoke_workflow orchestai",
        "invoke_agent generation",
        "chat w0",
        "plan",
    }
    (root,) = named(spans, "invoke_workflow")
    assert facts(root)[names.STATUS] == "cancelled"
    assert facts(named(spans, "chat")[0])[names.ERROR_TYPE] == "CancelledError"


async def test_executions_at_the_same_time_keep_apart(
    project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter
) -> None:
    workers = {f"w{i}": ScriptedWorker(f"w{i}", answer("A", after_s=0.01)) for i in range(4)}
    await asyncio.gather(*(run_watched(traced, project, workers, make_plan(DIAMOND)) for _ in range(5)))
    roots = named(spans, "invoke_workflow")
    assert len({root.context.trace_id for root in roots}) == 5
    for root in roots:
        trace = [span for span in spans.get_finished_spans() if span.context.trace_id == root.context.trace_id]
        assert len(trace) == 10


async def test_a_callers_span_is_the_parent(
    project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter
) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    worker = ScriptedWorker("w0", answer("A"))
    await run_watched(traced, project, {"w0": worker}, make_plan(((),)), traceparent=header)
    (root,) = named(spans, "invoke_workflow")
    assert f"{root.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == "b7ad6b7169203331"
    spans.clear()
    await run_watched(traced, project, {"w0": worker}, make_plan(((),)), traceparent="nonsense")
    assert named(spans, "invoke_workflow")[0].parent is None
    spans.clear()
    await run_watched(traced, project, {"w0": worker}, make_plan(((),)), traceparent=header[:-1] + "0")
    assert spans.get_finished_spans() == (), "a caller that does not trace decides for us too"


async def test_no_content_stands_in_spans(project: Project, traced: LiveTelemetry, spans: InMemorySpanExporter) -> None:
    leak = WorkerUnavailableError(f"upstream said: Ada Lovelace owes {KEY}", worker="w0")
    workers = {"w0": ScriptedWorker("w0", failing(1, leak)), "w1": ScriptedWorker("w1", failing(9, leak))}
    await run_watched(traced, project, workers, make_plan(((), (0,))))
    text = "\n".join(span.to_json() for span in spans.get_finished_spans())
    for part in ("Ada", "Lovelace", '"late"', KEY, "owes"):
        assert part not in text


async def test_content_where_it_is_wanted_but_never_a_key(
    project: Project, telling: LiveTelemetry, spans: InMemorySpanExporter
) -> None:
    leak = WorkerUnavailableError(f"Ada owes {KEY}", worker="w0")
    workers = {"w0": ScriptedWorker("w0", failing(1, leak)), "w1": ScriptedWorker("w1", answer(f"the key is {KEY}"))}
    await run_watched(telling, project, workers, make_plan(((), (0,))))
    text = "\n".join(span.to_json() for span in spans.get_finished_spans())
    assert KEY not in text
    (root,) = named(spans, "invoke_workflow")
    assert facts(root)[names.INSTRUCTION] == INSTRUCTION.text
    assert facts(root)[names.ANSWER] == "the key is ***"
    last = facts(named(spans, "chat w1")[0])
    (message,) = json.loads(last[names.OUTPUT_MESSAGES])
    assert message == {"role": "assistant", "parts": [{"type": "text", "content": "the key is ***"}]}
    (asked,) = json.loads(last[names.INPUT_MESSAGES])
    assert "Ada Lovelace" in asked["parts"][0]["content"]
    assert named(spans, "chat w0")[0].status.description == "Ada owes ***"


async def test_the_host_still_gets_every_event(project: Project, traced: LiveTelemetry) -> None:
    seen: list[ExecutionEvent] = []
    workers = {"w0": ScriptedWorker("w0", answer("A"))}
    await run_watched(traced, project, workers, make_plan(((),)), on_event=seen.append)
    assert [event.status for event in seen] == ["running", "done"]


class Streaming:
    """A worker that answers in two pieces."""

    profile = WorkerProfile(name="s", description="d", model="m")

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        raise AssertionError

    async def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        yield "a"
        yield "b"
        yield WorkerOutput(content="ab", metadata={"output_tokens": 2})

    async def aclose(self) -> None:
        return None


async def test_a_streamed_call(traced: LiveTelemetry, spans: InMemorySpanExporter) -> None:
    worker: Worker = traced.worker(Streaming())
    assert isinstance(worker, StreamingWorker)
    assert not isinstance(traced.worker(ScriptedWorker("w", answer("A"))), StreamingWorker)
    request = WorkerRequest(task_type="generation", prompt="p")
    with traced.execution("e", INSTRUCTION):
        pieces = [piece async for piece in worker.stream(request)]
        stream = worker.stream(request)
        await anext(stream)
        await stream.aclose()
    assert [piece for piece in pieces if isinstance(piece, str)] == ["a", "b"]
    whole, left = named(spans, "chat m")
    assert facts(whole)[names.USAGE_OUTPUT] == 2
    assert left.status.status_code is StatusCode.UNSET, "a reader that leaves is no failure"


async def test_a_call_outside_of_executions_has_no_span(traced: LiveTelemetry, spans: InMemorySpanExporter) -> None:
    worker = traced.worker(ScriptedWorker("w0", answer("A")))
    await worker.run(WorkerRequest(task_type="generation", prompt="p"))
    assert spans.get_finished_spans() == ()
