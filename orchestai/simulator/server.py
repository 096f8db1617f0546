"""The simulated workers as a server that speaks the OpenAI format."""

from __future__ import annotations

import array
import asyncio
import base64
import hashlib
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import BodyPartReader, web

from orchestai.contracts import WorkerProfile
from orchestai.simulator.model import SimulatedCall, SimulatedModel, SimulatedReply
from orchestai.simulator.references import ReferenceBook
from orchestai.simulator.worker import scaled_retry_after, simulation_headers

TASK_TYPE_HEADER = "x-orchestai-task-type"
EMBEDDING_MODEL = "sim-embedding"
EMBEDDING_WIDTH = 64

_MAX_BODY_BYTES = 64 * 2**20


def create_app(
    profiles: Iterable[WorkerProfile],
    *,
    seed: int = 7,
    references: Mapping[str, str] | None = None,
    time_scale: float = 1.0,
) -> web.Application:
    """Return the server's application.

    Args:
        profiles: Workers; those with a simulation profile are served under their `model` name.
        seed: Equal seeds give equal answers, latencies and faults.
        references: Accepted answers by the text that asks for them.
        time_scale: Factor on all simulated latencies.
    """
    book = ReferenceBook(references)
    models = {profile.model: SimulatedModel(profile, seed, book) for profile in profiles if profile.simulated}
    simulator = _Simulator(models, time_scale)
    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_errors_in_openai_format])
    app.add_routes(
        [
            web.get("/healthz", simulator.health),
            web.get("/v1/models", simulator.list_models),
            web.post("/v1/chat/completions", simulator.chat),
            web.post("/v1/audio/transcriptions", simulator.transcribe),
            web.post("/v1/embeddings", simulator.embed),
        ]
    )
    return app


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = _error_body(message, code=code, param=param)


def _error_body(
    message: str, *, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@web.middleware
async def _errors_in_openai_format(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    marks = {"x-orchestai-simulated": "true"}
    try:
        return await handler(request)
    except _RefusedError as error:
        return web.json_response(error.body, status=error.status, headers=marks)
    except web.HTTPException as error:
        body = _error_body(f"{error.status} {error.reason}: {request.method} {request.path}")
        return web.json_response(body, status=error.status, headers=marks)


class _Simulator:
    def __init__(self, models: Mapping[str, SimulatedModel], time_scale: float) -> None:
        self._models = models
        self._time_scale = time_scale
        self._served = 0

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "simulated": True})

    async def list_models(self, _request: web.Request) -> web.Response:
        names = [*self._models, EMBEDDING_MODEL]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "orchestai-simulator"} for name in names]
        return web.json_response({"object": "list", "data": data}, headers={"x-orchestai-simulated": "true"})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        model = self._model(body.get("model"))
        call = _chat_call(body, request)
        reply = model.reply(call)
        await asyncio.sleep(reply.latency_ms * self._time_scale / 1000)
        if reply.fault is not None:
            return self._fault(reply)
        self._served += 1
        head = {
            "id": f"chatcmpl-sim-{self._served}",
            "created": int(time.time()),
            "model": model.profile.model,
            "system_fingerprint": "simulated",
        }
        usage = {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }
        if body.get("stream"):
            options = body.get("stream_options")
            with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
            return await _stream(request, reply, head, usage if with_usage else None)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": reply.text},
            "finish_reason": reply.finish_reason,
            "logprobs": _logprobs(reply) if body.get("logprobs") else None,
        }
        return web.json_response(
            {**head, "object": "chat.completion", "choices": [choice], "usage": usage},
            headers=simulation_headers(reply),
        )

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        fields = await _form(request)
        model = self._model(fields.get("model"))
        if "file" not in fields:
            raise _RefusedError(400, "The form has no `file`.", param="file")
        call = SimulatedCall(
            task_type=request.headers.get(TASK_TYPE_HEADER, "audio_transcription"),
            prompt=str(fields.get("prompt", "")),
            audio_bytes=int(fields["file"]),
        )
        reply = model.reply(call)
        await asyncio.sleep(reply.latency_ms * self._time_scale / 1000)
        if reply.fault is not None:
            return self._fault(reply)
        usage = {
            "type": "tokens",
            "input_tokens": reply.input_tokens,
            "output_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }
        return web.json_response({"text": reply.text, "usage": usage}, headers=simulation_headers(reply))

    async def embed(self, request: web.Request) -> web.StreamResponse:
        body = await _json_object(request)
        if body.get("model") != EMBEDDING_MODEL:
            self._model(body.get("model"))
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise _RefusedError(400, "`input` must be a text or a list of texts.", param="input")
        in_base64 = body.get("encoding_format") == "base64"
        vectors = [hash_embedding(text) for text in texts]
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if in_base64 else vector}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(max(1, math.ceil(len(text) / 4)) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response(
            {"object": "list", "data": data, "model": body["model"], "usage": usage},
            headers={"x-orchestai-simulated": "true"},
        )

    def _model(self, name: object) -> SimulatedModel:
        model = self._models.get(name) if isinstance(name, str) else None
        if model is None:
            raise _RefusedError(
                404,
                f"The model {name!r} does not exist. Known: {', '.join(self._models)}.",
                code="model_not_found",
                param="model",
            )
        return model

    def _fault(self, reply: SimulatedReply) -> web.Response:
        assert reply.fault is not None
        headers = simulation_headers(reply)
        kind = "server_error"
        if reply.fault.status == 429:
            kind = "rate_limit_error"
            headers["Retry-After"] = f"{scaled_retry_after(reply.fault.retry_after_s, self._time_scale):g}"
        return web.json_response(
            _error_body(reply.fault.message, kind=kind), status=reply.fault.status, headers=headers
        )


def hash_embedding(text: str) -> list[float]:
    """Return a unit vector that depends on the words only: equal words, equal vectors; no meaning in it."""
    sums = [0.0] * EMBEDDING_WIDTH
    for word in text.casefold().split() or [""]:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=EMBEDDING_WIDTH).digest()
        for position, byte in enumerate(digest):
            sums[position] += byte - 127.5
    norm = math.sqrt(sum(value * value for value in sums))
    return [value / norm for value in sums]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(array.array("f", vector).tobytes()).decode("ascii")


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"The body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise _RefusedError(400, f"The body must be a JSON object, got {type(body).__name__}.")
    return body


async def _form(request: web.Request) -> dict[str, str | int]:
    """Return the fields of a form; a file as its size."""
    if not request.content_type.startswith("multipart/"):
        raise _RefusedError(400, "The body must be multipart/form-data.")
    fields: dict[str, str | int] = {}
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name:
                content = await part.read()
                fields[part.name] = len(content) if part.filename else content.decode()
    except ValueError as error:
        raise _RefusedError(400, f"The form cannot be read: {error}.") from error
    return fields


def _chat_call(body: dict[str, Any], request: web.Request) -> SimulatedCall:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise _RefusedError(400, "`messages` must be a list with at least one message.", param="messages")
    system: list[str] = []
    prompt: list[str] = []
    images = 0
    for message in messages:
        texts = system if message.get("role") in ("system", "developer") else prompt
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        for part in parts:
            if not isinstance(part, dict):
                raise _RefusedError(400, "A part of `content` is not an object.", param="messages")
            if part.get("type") == "image_url":
                images += 1
            else:
                texts.append(str(part.get("text", "")))
    max_tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    if max_tokens is not None and (not isinstance(max_tokens, int) or max_tokens < 1):
        raise _RefusedError(400, f"`max_tokens` must be at least 1, got {max_tokens!r}.", param="max_tokens")
    metadata = body.get("metadata")
    named = metadata.get("task_type") if isinstance(metadata, dict) else None
    return SimulatedCall(
        task_type=request.headers.get(TASK_TYPE_HEADER) or named or "default",
        prompt="\n\n".join(prompt),
        system="\n\n".join(system),
        images=images,
        max_tokens=max_tokens,
        json_schema=_schema_of(body.get("response_format")),
    )


def _schema_of(response_format: object) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    wrapper = response_format.get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    return schema if isinstance(schema, dict) else None


def _logprobs(reply: SimulatedReply) -> dict[str, Any]:
    return {
        "content": [
            {
                "token": reply.text,
                "logprob": math.log(reply.confidence),
                "bytes": list(reply.text.encode()),
                "top_logprobs": [],
            }
        ]
    }


async def _stream(
    request: web.Request, reply: SimulatedReply, head: dict[str, Any], usage: dict[str, Any] | None
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream", **simulation_headers(reply)})
    await response.prepare(request)
    async for chunk in _chunks(reply):
        payload = {**head, "object": "chat.completion.chunk", "choices": [chunk]}
        await response.write(f"data: {json.dumps(payload)}\n\n".encode())
    if usage is not None:
        payload = {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        await response.write(f"data: {json.dumps(payload)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _chunks(reply: SimulatedReply) -> AsyncIterator[dict[str, Any]]:
    yield {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    for start in range(0, len(reply.text), 16):
        yield {"index": 0, "delta": {"content": reply.text[start : start + 16]}, "finish_reason": None}
    yield {"index": 0, "delta": {}, "finish_reason": reply.finish_reason}
