"""An execution as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from orchestai.app.executions import Execution, Submitted
from orchestai.contracts import ExecutionEvent, Plan
from orchestai.errors import ApprovalNeededError, OrchestAIError
from orchestai.service.answers import answer_of, to_json
from orchestai.service.problems import ProblemError, problem_of
from orchestai.service.state import Service, raise_if_left

KEEP_ALIVE_S = 15.0
"""Proxies close connections on which nothing happens; a comment is something."""

STILL_HERE = b": still here\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Feed:
    """Takes an execution's events, for one reader; pass `on_plan` and `on_event` to `Service.submit`."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()

    def on_plan(self, execution_id: str, plan: Plan) -> None:
        """Take the plan."""
        self._queue.put_nowait(("plan", plan))

    def on_event(self, event: ExecutionEvent) -> None:
        """Take a change of state."""
        self._queue.put_nowait(("subtask", event))

    def on_piece(self, text: str) -> None:
        """Take a piece of the answer."""
        self._queue.put_nowait(("piece", text))

    async def until_end(self, outcome: asyncio.Future[Execution]) -> AsyncIterator[tuple[str, Any] | None]:
        """Give what comes until `outcome` is there; None where nothing came for a while."""
        outcome.add_done_callback(self._end)
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    item = await self._queue.get()
            except TimeoutError:
                yield None
                continue
            if item is None:
                return
            yield item

    def _end(self, outcome: asyncio.Future[Execution]) -> None:
        if not outcome.cancelled():
            outcome.exception()  # looked at, for the reader may have left
        self._queue.put_nowait(None)


async def outcome_of(service: Service, submitted: Submitted) -> asyncio.Future[Execution]:
    """Return what will be the result of an accepted request, be it new or a repetition."""
    if submitted.task is not None:
        return submitted.task
    return asyncio.ensure_future(service.executions.join(submitted.id))


async def result_of(service: Service, outcome: asyncio.Future[Execution]) -> Execution:
    """Return the result, which is there.

    Raises:
        ProblemError: There is none, or it failed for a reason of the service's.
        ApprovalNeededError: A person has to allow the plan first.
    """
    try:
        execution = await asyncio.shield(outcome)
    except asyncio.CancelledError:
        raise_if_left()
        raise
    except ApprovalNeededError:
        raise
    except OrchestAIError as error:
        raise problem_of(error) from error
    problem = service.problem_of(execution.result)
    if problem is not None:
        raise problem
    return execution


async def stream_events(service: Service, submitted: Submitted, feed: Feed) -> AsyncIterator[bytes]:
    """Give the events of `POST /v1/instructions`; a reader who leaves does not end the execution."""
    numbers = iter(range(1, 1_000_000))

    def event(name: str, data: Any) -> bytes:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (next(numbers), name.encode(), to_json(data))

    yield event("accepted", {"execution_id": submitted.id, "location": location_of(submitted.id)})
    outcome = await outcome_of(service, submitted)
    async for item in feed.until_end(outcome):
        if item is None:
            yield STILL_HERE
        else:
            name, content = item
            yield event(name, {"text": content} if name == "piece" else content)
    try:
        execution = await result_of(service, outcome)
    except ApprovalNeededError as waiting:
        yield event(
            "waiting",
            {"execution_id": waiting.execution_id, "reason": waiting.reason, "expires": waiting.expires},
        )
    except ProblemError as problem:
        yield event("error", {**problem.body(), "execution_id": submitted.id})
    else:
        if submitted.task is None:
            yield event("plan", execution.plan)
        yield event("answer", {"execution_id": submitted.id, "answer": execution.result.answer})
        yield event("done", answer_of(execution))


def location_of(execution_id: str) -> str:
    """Return where an execution is found."""
    return f"/v1/executions/{execution_id}"
