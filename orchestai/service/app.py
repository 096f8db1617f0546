"""Makes the ASGI app."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib import metadata
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import REGISTRY
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestai.app.runtime import Runtime
from orchestai.config import ServiceConfig
from orchestai.errors import OrchestAIError
from orchestai.service import chat, executions, health, instructions
from orchestai.service.chat_format import ChatRequest
from orchestai.service.gateway import Gateway
from orchestai.service.metrics import ServiceMetrics, service_metrics
from orchestai.service.openapi import describe_with
from orchestai.service.problems import ProblemError, problem_of
from orchestai.service.requests import Decision, Feedback, InstructionRequest
from orchestai.service.state import Service


def create_app(
    runtime: Runtime, config: ServiceConfig | None = None, *, metrics: ServiceMetrics | None = None
) -> FastAPI:
    """Return the app for one runtime, which lives and ends with it, on the loop of its server.

    Args:
        runtime: Runs the instructions; it must not have run any yet.
        config: Limits; the project's when not given.
        metrics: Counts; those of the runtime's registry when not given.

    Raises:
        InputError: The runtime keeps no log.
        ConfigError: Rates cannot be counted where the configuration says.
        StorageError: The tokens cannot be read.
    """
    settings = config or runtime.project.service
    counts = metrics or service_metrics(runtime.telemetry.registry or REGISTRY)
    service = Service(runtime, settings, counts)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        runtime.live_here()
        try:
            await service.open()
            yield
            await service.stop(settings.grace_s)
        finally:
            await runtime.aclose()

    app = FastAPI(
        title="OrchestAI",
        version=metadata.version("orchestai"),
        description="One instruction in plain language becomes a graph of sub-tasks, each done by the cheapest "
        "model that does it well.",
        lifespan=lifespan,
        docs_url=None,  # the page would load its scripts from a foreign host
        redoc_url=None,
    )
    app.state.service = service
    app.state.readiness = health.Readiness(service)
    for module in (instructions, executions, chat, health):
        app.include_router(module.router)
    describe_with(app, (InstructionRequest, ChatRequest, Decision, Feedback))
    app.add_middleware(Gateway, metrics=counts, sample_ratio=runtime.project.telemetry.tracing.sample_ratio)
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(OrchestAIError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return app


async def _answer_problem(request: Request, error: Any) -> Response:
    problem: ProblemError = error
    return problem.response(request.url.path)


async def _answer_error(request: Request, error: Any) -> Response:
    return problem_of(error).response(request.url.path)


async def _answer_http(request: Request, error: Any) -> Response:
    codes = {404: "unknown_path", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "http")
    detail = f"{request.method} {request.url.path:.200}: {error.detail}."
    problem = ProblemError(error.status_code, code, detail, remedy="/openapi.json lists what there is.")
    problem.headers.update(error.headers or {})
    return problem.response(request.url.path)


async def _answer_invalid(request: Request, error: Any) -> Response:
    known = ", ".join(executions.Search.model_fields)
    errors = [
        {"field": ".".join(map(str, item["loc"][1:])), "message": f"{item['msg']}, got {item['input']!r:.80}."}
        for item in error.errors()
    ]
    detail = "; ".join(f"`{each['field']}`: {each['message']}" for each in errors[:5])
    problem = ProblemError(400, "invalid_request", detail, remedy=f"Known: {known}.", errors=errors)
    return problem.response(request.url.path)
