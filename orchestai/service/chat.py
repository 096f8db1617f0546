"""`/v1/chat/completions` and `/v1/models`: OrchestAI as a model, for any client of OpenAI's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orchestai.app.executions import Submitted
from orchestai.contracts import Instruction
from orchestai.errors import ApprovalNeededError
from orchestai.service.answers import to_json
from orchestai.service.auth import Caller, allowed
from orchestai.service.chat_format import MODEL, ChatRequest, chunk, completion, last_chunks, read_conversation
from orchestai.service.events import HEADERS, STILL_HERE, Feed, outcome_of, result_of
from orchestai.service.openapi import body_of
from orchestai.service.problems import ProblemError
from orchestai.service.requests import to_instruction
from orchestai.service.state import Service, service_of

router = APIRouter(tags=["openai"])

Runner = Annotated[Caller, Depends(allowed("run"))]

_MODEL: dict[str, Any] = {"id": MODEL, "object": "model", "created": 1_767_225_600, "owned_by": "orchestai"}
_OBJECT: dict[str, Any] = {"content": {"application/json": {"schema": {"type": "object"}}}}
_EITHER: dict[str, Any] = {**_OBJECT["content"], "text/event-stream": {}}


@router.post(
    "/v1/chat/completions",
    response_model=None,
    openapi_extra=body_of(ChatRequest),
    responses={200: {"description": "A completion, or its chunks.", "content": _EITHER}},
)
async def post_completion(request: Request, caller: Runner) -> Response:
    """Answer the last message of the user."""
    service = service_of(request)
    body = await service.bodies.read(request, ChatRequest)
    _check_model(body.model)
    text, inputs = read_conversation(body)
    header_key = request.headers.get("idempotency-key")
    instruction = to_instruction(text, inputs, body.orchestai, tenant=caller.tenant, header_key=header_key)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return await _stream(service, caller, instruction, with_usage=with_usage)
    try:
        execution = await service.run(caller, instruction)
    except ApprovalNeededError as waiting:
        raise _waiting(waiting) from waiting
    problem = service.problem_of(execution.result)
    if problem is not None:
        raise problem
    headers = {"X-Execution-Id": execution.result.execution_id}
    return Response(to_json(completion(execution)), headers=headers, media_type="application/json")


@router.get("/v1/models", response_model=None, responses={200: _OBJECT})
async def list_models(caller: Runner) -> Response:
    """Return the one model that there is."""
    return Response(to_json({"object": "list", "data": [_MODEL]}), media_type="application/json")


@router.get("/v1/models/{model}", response_model=None, responses={200: _OBJECT})
async def get_model(model: str, caller: Runner) -> Response:
    """Describe a model."""
    _check_model(model)
    return Response(to_json(_MODEL), media_type="application/json")


async def _stream(service: Service, caller: Caller, instruction: Instruction, *, with_usage: bool) -> Response:
    feed = Feed()
    submitted = await service.submit(caller, instruction, on_piece=feed.on_piece)
    return StreamingResponse(
        _chunks(service, submitted, feed, with_usage=with_usage),
        headers={**HEADERS, "X-Execution-Id": submitted.id},
        media_type="text/event-stream",
    )


async def _chunks(service: Service, submitted: Submitted, feed: Feed, *, with_usage: bool) -> AsyncIterator[bytes]:
    yield _data(chunk(submitted.id, {"role": "assistant", "content": ""}))
    outcome = await outcome_of(service, submitted)
    in_pieces = False
    async for item in feed.until_end(outcome):
        if item is None:
            yield STILL_HERE
        else:
            in_pieces = True
            yield _data(chunk(submitted.id, {"content": item[1]}))
    try:
        execution = await result_of(service, outcome)
    except ApprovalNeededError as waiting:
        yield _data(_waiting(waiting).openai_body())
    except ProblemError as problem:
        yield _data(problem.openai_body())
    else:
        if not in_pieces:
            yield _data(chunk(submitted.id, {"content": execution.result.answer}))
        for last in last_chunks(execution, usage=with_usage):
            yield _data(last)
    yield b"data: [DONE]\n\n"


def _data(content: dict[str, Any]) -> bytes:
    return b"data: " + to_json(content) + b"\n\n"


def _check_model(name: str) -> None:
    if name != MODEL:
        raise ProblemError(
            404,
            "model_not_found",
            f"There is no model {name!r:.80}.",
            remedy=f"Use {MODEL!r}: it chooses the workers itself.",
            param="model",
        )


def _waiting(waiting: ApprovalNeededError) -> ProblemError:
    return ProblemError(
        409,
        waiting.code,
        waiting.message,
        remedy=f"POST /v1/executions/{waiting.execution_id}/approve allows it; then send the request again.",
        execution_id=waiting.execution_id,
    )
