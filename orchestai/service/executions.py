"""`/v1/executions`: look, cancel, decide, and see who made what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from orchestai.app.feedback import make_feedback
from orchestai.engine.store import OPEN, ExecutionStatus, StoredExecution
from orchestai.errors import InputError, OrchestAIError
from orchestai.logs.feedback import FeedbackRecord
from orchestai.service.answers import ExecutionAnswer, ExecutionList, answer_of_stored, to_json
from orchestai.service.auth import Caller, allowed
from orchestai.service.openapi import body_of
from orchestai.service.problems import ProblemError
from orchestai.service.provenance import Provenance, provenance_of
from orchestai.service.requests import Decision, Feedback
from orchestai.service.state import Service, service_of

router = APIRouter(prefix="/v1/executions", tags=["executions"])

Reader = Annotated[Caller, Depends(allowed("read"))]
Runner = Annotated[Caller, Depends(allowed("run"))]
Approver = Annotated[Caller, Depends(allowed("approve"))]

_CANCEL_WAIT_S = 10.0
_FOUND: dict[int | str, dict[str, Any]] = {200: {"model": ExecutionAnswer}}


class Search(BaseModel):
    """What to look for.

    Attributes:
        text: Only those whose instruction holds this text, case aside.
        status: Only those in this state.
        since: Accepted at this Unix time or later.
        limit: The most to return.
        cursor: `cursor` of the page before.
        tenant: Only this tenant's; for others than the caller's own the scope `admin` is needed.
    """

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, max_length=1000)
    status: ExecutionStatus | None = None
    since: float | None = Field(default=None, ge=0, le=1e11)
    limit: int = Field(default=50, ge=1, le=500)
    cursor: float | None = Field(default=None, ge=0, le=1e11)
    tenant: str | None = Field(default=None, max_length=64)


@router.get("", response_model=None, responses={200: {"model": ExecutionList}})
async def search(request: Request, caller: Reader, query: Annotated[Search, Query()]) -> Response:
    """Search executions, the latest first, and see what they cost."""
    service = service_of(request)
    everybody = "admin" in caller.scopes
    tenant = query.tenant if everybody else caller.tenant
    if query.tenant is not None and not caller.sees(query.tenant):
        raise ProblemError(403, "missing_scope", "Other tenants' executions need the scope 'admin'.")
    await service.flush()
    found = await asyncio.to_thread(
        service.store.search,
        tenant=tenant,
        status=query.status,
        text=query.text,
        since=query.since,
        before=query.cursor,
        limit=query.limit,
    )
    costs = await asyncio.to_thread(service.store.cost_by_tenant, tenant=tenant, since=query.since or 0.0)
    cursor = repr(found[-1].created) if len(found) == query.limit else None
    return _json(ExecutionList(executions=tuple(found), cursor=cursor, cost_usd_by_tenant=costs))


@router.get("/{execution_id}", response_model=None, responses=_FOUND)
async def get(request: Request, execution_id: str, caller: Reader) -> Response:
    """Return one execution."""
    return _json(answer_of_stored(await _find(service_of(request), caller, execution_id)))


@router.get("/{execution_id}/provenance", response_model=None, responses={200: {"model": Provenance}})
async def provenance(request: Request, execution_id: str, caller: Reader) -> Response:
    """Say who made what of one execution."""
    service = service_of(request)
    stored = await _find(service, caller, execution_id)
    return _json(provenance_of(stored, service.runtime.workforce.catalog))


@router.delete("/{execution_id}", response_model=None, responses=_FOUND)
async def cancel(request: Request, execution_id: str, caller: Runner) -> Response:
    """End an execution; what is done is kept."""
    service = service_of(request)
    stored = await _find(service, caller, execution_id)
    if stored.status == "waiting":
        await service.reject(caller, execution_id, "cancelled")
    elif not service.executions.cancel(execution_id):
        running = stored.status in OPEN
        raise ProblemError(
            409,
            "runs_elsewhere" if running else "already_ended",
            f"Execution {execution_id!r} " + ("runs in another process." if running else f"is {stored.status}."),
            remedy="Cancel it there." if running else None,
        )
    else:
        await _end_of(service, execution_id)
    return _json(answer_of_stored(await _find(service, caller, execution_id)))


@router.post(
    "/{execution_id}/approve", response_model=None, openapi_extra=body_of(Decision, required=False), responses=_FOUND
)
async def approve(request: Request, execution_id: str, caller: Approver) -> Response:
    """Let a plan that waits for a person go on."""
    return await _decide(request, execution_id, caller, service_of(request).approve)


@router.post(
    "/{execution_id}/reject", response_model=None, openapi_extra=body_of(Decision, required=False), responses=_FOUND
)
async def reject(request: Request, execution_id: str, caller: Approver) -> Response:
    """Refuse a plan that waits for a person."""
    return await _decide(request, execution_id, caller, service_of(request).reject)


@router.post(
    "/{execution_id}/feedback",
    response_model=None,
    openapi_extra=body_of(Feedback),
    responses={201: {"model": FeedbackRecord}},
)
async def feedback(request: Request, execution_id: str, caller: Runner) -> Response:
    """Label the outcome of an execution that is over; training believes the newest label."""
    service = service_of(request)
    stored = await _find(service, caller, execution_id)
    if stored.status in OPEN:
        raise ProblemError(409, "still_running", f"Execution {execution_id!r} is {stored.status}.")
    body = await service.bodies.read(request, Feedback)
    record = make_feedback(
        stored.id,
        stored.tenant,
        success=body.good,
        score=body.score,
        note=body.note,
        source=body.source,
        by=caller.name,
    )
    await service.feedback.take(record)
    return Response(to_json(record), status_code=201, media_type="application/json")


async def _decide(
    request: Request, execution_id: str, caller: Caller, decide: Callable[[Caller, str, str], Awaitable[None]]
) -> Response:
    service = service_of(request)
    await _find(service, caller, execution_id)
    comment = await _comment(service, request)
    try:
        await decide(caller, execution_id, comment)
    except InputError as error:
        raise _not_waiting(error) from error
    return _json(answer_of_stored(await _find(service, caller, execution_id)))


async def _find(service: Service, caller: Caller, execution_id: str) -> StoredExecution:
    await service.flush()
    stored = await asyncio.to_thread(service.store.find, execution_id)
    if stored is None or not caller.sees(stored.tenant):
        # Whether it is another tenant's is no business of the caller's.
        raise ProblemError(404, "unknown_execution", f"There is no execution {execution_id!r:.80}.")
    return stored


async def _end_of(service: Service, execution_id: str) -> None:
    try:
        async with asyncio.timeout(_CANCEL_WAIT_S):
            await service.executions.join(execution_id)
    except TimeoutError:
        return  # a worker does not let go: the answer says that it still runs
    except OrchestAIError:
        return  # it ended without a result


async def _comment(service: Service, request: Request) -> str:
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return ""
    return (await service.bodies.read(request, Decision)).comment


def _not_waiting(error: InputError) -> ProblemError:
    return ProblemError(409, "not_waiting", error.message)


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")
