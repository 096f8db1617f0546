"""`POST /v1/instructions`: the result as JSON, as events, or later."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orchestai.contracts import Instruction
from orchestai.errors import ApprovalNeededError
from orchestai.service.answers import Accepted, ExecutionAnswer, answer_of, to_json
from orchestai.service.auth import Caller, allowed
from orchestai.service.events import HEADERS, Feed, location_of, stream_events
from orchestai.service.openapi import body_of
from orchestai.service.requests import InstructionRequest, to_instruction
from orchestai.service.state import Service, service_of

router = APIRouter(tags=["instructions"])


@router.post(
    "/v1/instructions",
    response_model=None,
    openapi_extra=body_of(InstructionRequest),
    responses={
        200: {
            "model": ExecutionAnswer,
            "description": "The result, or its events.",
            "content": {"text/event-stream": {}},
        },
        202: {"model": Accepted, "description": "It goes on, or waits for a person; `Location` says where to look."},
    },
)
async def post_instruction(request: Request, caller: Annotated[Caller, Depends(allowed("run"))]) -> Response:
    """Plan an instruction, run the plan and answer."""
    service = service_of(request)
    body = await service.bodies.read(request, InstructionRequest)
    header_key = request.headers.get("idempotency-key")
    instruction = to_instruction(body.text, body.inputs, body, tenant=caller.tenant, header_key=header_key)
    if body.stream or "text/event-stream" in request.headers.get("accept", ""):
        return await _stream(service, caller, instruction)
    if not body.wait:
        submitted = await service.submit(caller, instruction)
        return accepted(Accepted(execution_id=submitted.id, status="accepted", location=location_of(submitted.id)))
    try:
        execution = await service.run(caller, instruction)
    except ApprovalNeededError as waiting:
        return waiting_answer(waiting)
    problem = service.problem_of(execution.result)
    if problem is not None:
        problem.extensions["execution"] = answer_of(execution)
        raise problem
    headers = {"X-Execution-Id": execution.result.execution_id}
    return Response(to_json(answer_of(execution)), headers=headers, media_type="application/json")


def waiting_answer(waiting: ApprovalNeededError) -> Response:
    """Return the answer to a request whose plan waits for a person."""
    location = location_of(waiting.execution_id)
    return accepted(
        Accepted(
            execution_id=waiting.execution_id,
            status="waiting",
            location=location,
            reason=waiting.reason,
            expires=waiting.expires,
        )
    )


def accepted(body: Accepted) -> Response:
    """Return a 202 that says where to look."""
    headers = {"Location": body.location, "X-Execution-Id": body.execution_id}
    return Response(to_json(body), status_code=202, headers=headers, media_type="application/json")


async def _stream(service: Service, caller: Caller, instruction: Instruction) -> Response:
    feed = Feed()
    submitted = await service.submit(
        caller, instruction, on_event=feed.on_event, on_plan=feed.on_plan, on_piece=feed.on_piece
    )
    headers = {**HEADERS, "X-Execution-Id": submitted.id, "Location": location_of(submitted.id)}
    return StreamingResponse(stream_events(service, submitted, feed), headers=headers, media_type="text/event-stream")
