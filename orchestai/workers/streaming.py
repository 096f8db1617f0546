"""Answers in pieces, also from workers that give them whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestai.contracts import StreamingWorker, Worker, WorkerOutput, WorkerRequest


async def stream_answer(worker: Worker, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
    """Give the answer of any worker in pieces: text as it comes, then the whole output as the last item.

    An iteration that is left early must be closed (`contextlib.aclosing`), so that the call ends with it.

    Raises:
        WorkerError: As the worker; pieces may have been given before.
    """
    if isinstance(worker, StreamingWorker):
        async with aclosing(worker.stream(request)) as items:
            async for item in items:
                yield item
        return
    output = await worker.run(request)
    yield str(output.content)
    yield output
