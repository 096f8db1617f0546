"""A worker behind any URL that speaks the OpenAI format: chat, vision, audio and embeddings."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from orchestai.contracts import Modality, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import WorkerAuthError, WorkerRequestError
from orchestai.workers.chat_format import (
    TASK_TYPE_HEADER,
    Answer,
    UserContent,
    asks_for_max_completion_tokens,
    chat_body,
    checked_content,
    metadata,
    read_completion,
)
from orchestai.workers.chat_stream import ChatStream
from orchestai.workers.clients import ClientPool
from orchestai.workers.embeddings import (
    MAX_EMBEDDING_BYTES,
    EmbeddingOutput,
    embedding_body,
    read_input_tokens,
    read_vectors,
)
from orchestai.workers.http import JsonEndpoint, decode_object, encode_json
from orchestai.workers.media import load_image
from orchestai.workers.provider_errors import ProviderErrors
from orchestai.workers.status_errors import Callee
from orchestai.workers.transcription import transcribe

_CHAT = "chat/completions"


class OpenAIWorker:
    """Does sub-tasks over HTTP: chat, vision and embeddings directly, transcriptions through the `openai` package.

    Args:
        profile: Its capability, price and speed facts.
        base_url: Where its endpoint is, `/v1` included.
        api_key: The key; it stays out of every error, log and repr.
        clients: Connections to share; the worker makes its own otherwise and closes them itself.
        ask_logprobs: Ask for token probabilities, from which the confidence comes. By default only
            endpoints that we start ourselves are asked: some providers refuse the whole request.
        proxy: Through which proxy chat and embeddings go; the `openai` package reads the environment itself.
    """

    def __init__(
        self,
        profile: WorkerProfile,
        *,
        base_url: str,
        api_key: SecretStr | str | None = None,
        clients: ClientPool | None = None,
        ask_logprobs: bool | None = None,
        proxy: SecretStr | None = None,
    ) -> None:
        self._profile = profile
        self._base_url = base_url
        self._api_key = _clean_key(api_key)
        self._clients = clients or ClientPool()
        self._owns_clients = clients is None
        self._ask_logprobs = profile.base_url is None if ask_logprobs is None else ask_logprobs
        self._limit_key = "max_completion_tokens" if asks_for_max_completion_tokens(base_url) else "max_tokens"
        self._callee = Callee.worker(profile)
        self._endpoint = JsonEndpoint(self._callee, base_url, self._api_key, self._clients, proxy=proxy)

    def __repr__(self) -> str:
        return f"OpenAIWorker({self._profile.name!r}, base_url={_without_user(self._base_url)!r})"

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task; the deadline covers everything up to the last byte of the answer.

        Raises:
            WorkerError: The most specific type.
        """
        self._check(request.modality)
        limit_s = self._limit_s(request)
        started = time.monotonic()
        with ProviderErrors(self._callee, secret=self._api_key, limit_s=limit_s):
            async with asyncio.timeout(limit_s):
                if request.modality is Modality.AUDIO:
                    sources = self._sources(request, "audio")
                    client = await self._clients.sdk(self._base_url, self._api_key)
                    content, facts = await transcribe(client, self._profile, request, sources)
                    return self._output(content, facts, started)
                body = encode_json(self._chat_body(request, await self._user_content(request)))
                reply = await self._endpoint.post(_CHAT, body, headers=self._marks(request))
            answer = read_completion(decode_object(reply, self._callee), self._profile.name)
            return self._finish(answer, reply.headers, request, started)

    async def stream(self, request: WorkerRequest) -> AsyncGenerator[str | WorkerOutput, None]:
        """Do one sub-task and give the answer's text in pieces as they come; the last item is the whole output.

        Leaving the iteration early closes the socket once the iterator is closed: wrap it in
        `contextlib.aclosing`. The deadline covers the whole answer, but not the time that the caller takes
        between two pieces. A transcription comes in one piece.

        Raises:
            WorkerError: The most specific type; pieces may have been given before.
        """
        if request.modality is Modality.AUDIO:
            output = await self.run(request)
            yield str(output.content)
            yield output
            return
        self._check(request.modality)
        limit_s = self._limit_s(request)
        started = time.monotonic()
        left_s = limit_s
        with ProviderErrors(self._callee, secret=self._api_key, limit_s=limit_s):
            body = encode_json(self._chat_body(request, await self._user_content(request), stream=True))
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(left_s):
                    call = self._endpoint.stream(_CHAT, body, headers=self._marks(request))
                    response = await stack.enter_async_context(call)
                left_s -= time.monotonic() - started
                reader = ChatStream(response, self._callee, self._api_key)
                pieces = await stack.enter_async_context(aclosing(reader.pieces()))
                while True:
                    asked = time.monotonic()
                    async with asyncio.timeout(max(left_s, 0.0)):
                        piece = await anext(pieces, None)
                    left_s -= time.monotonic() - asked
                    if piece is None:
                        break
                    yield piece
            output = self._finish(reader.answer, response.headers, request, started)
        yield output

    async def embed(self, texts: Sequence[str], *, timeout_s: float | None = None) -> EmbeddingOutput:
        """Return one vector a text.

        Raises:
            WorkerError: The most specific type.
        """
        self._check(Modality.EMBEDDING)
        if not texts:
            raise WorkerRequestError("There are no texts to embed.", worker=self._profile.name)
        limit_s = min(timeout_s or math.inf, self._profile.timeout_s)
        started = time.monotonic()
        with ProviderErrors(self._callee, secret=self._api_key, limit_s=limit_s):
            async with asyncio.timeout(limit_s):
                body = encode_json(embedding_body(self._profile.model, texts))
                reply = await self._endpoint.post("embeddings", body, max_bytes=MAX_EMBEDDING_BYTES)
            payload = decode_object(reply, self._callee)
            vectors = read_vectors(payload, len(texts), self._profile.name)
        model = payload.get("model")
        tokens, estimated = read_input_tokens(payload, texts)
        return EmbeddingOutput(
            vectors=vectors,
            model=model if isinstance(model, str) else self._profile.model,
            input_tokens=tokens,
            usage_estimated=estimated,
            cost_usd=self._profile.cost_usd(tokens, 0),
            latency_ms=(time.monotonic() - started) * 1000,
        )

    async def aclose(self) -> None:
        """Close the connections, unless they are shared."""
        if self._owns_clients:
            await self._clients.aclose()

    def _limit_s(self, request: WorkerRequest) -> float:
        return min(request.timeout_s or math.inf, self._profile.timeout_s)

    def _check(self, modality: Modality) -> None:
        profile = self._profile
        if modality not in profile.modalities:
            raise WorkerRequestError(
                f"Worker {profile.name!r} does not do {modality.value!r}; "
                f"it does {', '.join(modality.value for modality in profile.modalities)}.",
                worker=profile.name,
                remedy="Assign another worker, or extend `modalities` in its profile.",
            )
        # Our own servers, which have no `base_url` in the profile, ask for no key.
        if self._api_key is None and profile.api_key_env and profile.base_url is not None:
            raise WorkerAuthError(
                f"Worker {profile.name!r} needs a key, and {profile.api_key_env} is not set.",
                worker=profile.name,
                remedy=self._callee.key_remedy,
            )
        if self._api_key is not None and not _fits_header(self._api_key):
            raise WorkerAuthError(
                f"The key of worker {profile.name!r} holds characters that no header can carry.",
                worker=profile.name,
                remedy=self._callee.key_remedy,
            )

    def _chat_body(self, request: WorkerRequest, user: UserContent, *, stream: bool = False) -> dict[str, Any]:
        return chat_body(
            self._profile, request, user, limit_key=self._limit_key, logprobs=self._ask_logprobs, stream=stream
        )

    def _marks(self, request: WorkerRequest) -> dict[str, str] | None:
        return {TASK_TYPE_HEADER: request.task_type} if self._profile.simulated else None

    async def _user_content(self, request: WorkerRequest) -> UserContent:
        if request.modality is not Modality.VISION:
            return request.prompt
        parts: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        for source in self._sources(request, "image"):
            image = await asyncio.to_thread(load_image, source, worker=self._profile.name)
            parts.append({"type": "image_url", "image_url": {"url": image.data_url}})
        return parts

    def _sources(self, request: WorkerRequest, kind: str) -> list[str]:
        sources = [source for name, source in request.inputs.items() if name.startswith(kind)]
        if not sources:
            raise WorkerRequestError(
                f"The sub-task needs an {kind}, and its inputs are {sorted(request.inputs) or 'empty'}.",
                worker=self._profile.name,
                remedy=f"Add the input `{kind}`: a path or a data URL.",
            )
        return sources

    def _finish(self, answer: Answer, headers: Any, request: WorkerRequest, started: float) -> WorkerOutput:
        content = checked_content(answer.content, answer.finish_reason, request, self._profile.name)
        facts = metadata(
            self._profile,
            request,
            headers,
            model=answer.model,
            content=content,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
        )
        facts["simulated"] |= answer.simulated
        facts["finish_reason"] = answer.finish_reason
        facts["confidence"] = answer.confidence
        return self._output(content, facts, started)

    def _output(self, content: str, facts: dict[str, Any], started: float) -> WorkerOutput:
        return WorkerOutput(
            content=content,
            metadata=facts,
            cost=self._profile.cost_usd(facts["input_tokens"], facts["output_tokens"]),
            latency_ms=(time.monotonic() - started) * 1000,
        )


def _clean_key(api_key: SecretStr | str | None) -> SecretStr | None:
    """Return the key without the line end that a file or a shell leaves on it; an empty one is none."""
    value = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key or ""
    return SecretStr(value.strip()) if value.strip() else None


def _fits_header(key: SecretStr) -> bool:
    value = key.get_secret_value()
    return value.isascii() and value.isprintable()


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
