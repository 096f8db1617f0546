"""A worker behind any URL that speaks the OpenAI format: chat, vision and audio."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestai.contracts import Modality, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import MalformedResponseError, WorkerAuthError, WorkerRequestError
from orchestai.workers.clients import ClientPool
from orchestai.workers.media import load_audio, load_image
from orchestai.workers.provider_errors import key_remedy, map_provider_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai import AsyncOpenAI

CHARS_PER_TOKEN = 4
TASK_TYPE_HEADER = "x-orchestai-task-type"
SIMULATED_HEADER = "x-orchestai-simulated"
SIMULATED_LATENCY_HEADER = "x-orchestai-simulated-latency-ms"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class OpenAIWorker:
    """Does sub-tasks through the `openai` package.

    Args:
        profile: Its capability, price and speed facts.
        base_url: Where its endpoint is, `/v1` included.
        api_key: The key; it stays out of every error, log and repr.
        clients: Connections to share; the worker makes its own otherwise and closes them itself.
        ask_logprobs: Ask for token probabilities, from which the confidence comes. By default only
            endpoints that we start ourselves are asked: some providers refuse the whole request.
    """

    def __init__(
        self,
        profile: WorkerProfile,
        *,
        base_url: str,
        api_key: SecretStr | str | None = None,
        clients: ClientPool | None = None,
        ask_logprobs: bool | None = None,
    ) -> None:
        self._profile = profile
        self._base_url = base_url
        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._clients = clients or ClientPool()
        self._owns_clients = clients is None
        self._ask_logprobs = profile.base_url is None if ask_logprobs is None else ask_logprobs

    def __repr__(self) -> str:
        return f"OpenAIWorker({self._profile.name!r}, base_url={self._base_url!r})"

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task; the deadline covers everything up to the last byte of the answer.

        Raises:
            WorkerError: The most specific type.
        """
        self._check(request)
        limit_s = min(request.timeout_s or math.inf, self._profile.timeout_s)
        started = time.monotonic()
        with map_provider_errors(worker=self._profile, secret=self._api_key, limit_s=limit_s):
            async with asyncio.timeout(limit_s):
                client = await self._clients.get(self._base_url, self._api_key)
                if request.modality is Modality.AUDIO:
                    content, metadata = await self._transcribe(client, request)
                else:
                    content, metadata = await self._chat(client, request)
        return WorkerOutput(
            content=content,
            metadata=metadata,
            cost=self._profile.cost_usd(metadata["input_tokens"], metadata["output_tokens"]),
            latency_ms=(time.monotonic() - started) * 1000,
        )

    async def aclose(self) -> None:
        """Close the connections, unless they are shared."""
        if self._owns_clients:
            await self._clients.aclose()

    def _check(self, request: WorkerRequest) -> None:
        name = self._profile.name
        if request.modality not in self._profile.modalities:
            raise WorkerRequestError(
                f"Worker {name!r} does not do {request.modality.value!r}; "
                f"it does {', '.join(modality.value for modality in self._profile.modalities)}.",
                worker=name,
                remedy="Assign another worker, or extend `modalities` in its profile.",
            )
        if self._profile.api_key_env and self._api_key is None:
            raise WorkerAuthError(
                f"Worker {name!r} needs a key, and {self._profile.api_key_env} is not set.",
                worker=name,
                remedy=key_remedy(self._profile),
            )

    async def _chat(self, client: AsyncOpenAI, request: WorkerRequest) -> tuple[str, dict[str, Any]]:
        raw = await client.chat.completions.with_raw_response.create(
            **self._chat_arguments(request, await self._user_content(request))
        )
        completion: Any = raw.parse()
        choices = getattr(completion, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise self._malformed("sent no choices; the answer is not in the OpenAI format.", "Check its `base_url`.")
        refusal = getattr(message, "refusal", None)
        if refusal:
            raise WorkerRequestError(
                f"Worker {self._profile.name!r} refuses: {str(refusal)[:200]}", worker=self._profile.name
            )
        content = self._checked_content(message.content, choice.finish_reason, request)
        usage = getattr(completion, "usage", None)
        metadata = self._metadata(
            model=getattr(completion, "model", None),
            input_tokens=getattr(usage, "prompt_tokens", None),
            output_tokens=getattr(usage, "completion_tokens", None),
            headers=raw.headers,
            request=request,
            content=content,
        )
        metadata["simulated"] |= getattr(completion, "system_fingerprint", None) == "simulated"
        metadata["finish_reason"] = choice.finish_reason
        metadata["confidence"] = _mean_probability(getattr(choice, "logprobs", None))
        return content, metadata

    def _chat_arguments(self, request: WorkerRequest, user: str | list[dict[str, Any]]) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        arguments: dict[str, Any] = {
            "model": self._profile.model,
            "messages": messages,
            "temperature": request.temperature,
        }
        # OpenAI itself has retired `max_tokens`; most compatible servers know nothing else.
        openai_itself = urlsplit(self._base_url).hostname == "api.openai.com"
        arguments["max_completion_tokens" if openai_itself else "max_tokens"] = request.max_output_tokens
        if request.json_schema is not None:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "schema": request.json_schema,
                    "strict": request.json_schema.get("additionalProperties") is False,
                },
            }
        if self._ask_logprobs:
            arguments["logprobs"] = True
            arguments["top_logprobs"] = 1
        if self._profile.simulated:
            arguments["extra_headers"] = {TASK_TYPE_HEADER: request.task_type}
        return arguments

    async def _user_content(self, request: WorkerRequest) -> str | list[dict[str, Any]]:
        if request.modality is not Modality.VISION:
            return request.prompt
        parts: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        for source in self._sources(request, "image"):
            image = await asyncio.to_thread(load_image, source, worker=self._profile.name)
            parts.append({"type": "image_url", "image_url": {"url": image.data_url}})
        return parts

    async def _transcribe(self, client: AsyncOpenAI, request: WorkerRequest) -> tuple[str, dict[str, Any]]:
        texts: list[str] = []
        input_tokens: int | None = 0
        output_tokens: int | None = 0
        headers: Any = {}
        simulated_ms: list[float] = []
        for source in self._sources(request, "audio"):
            audio = await asyncio.to_thread(load_audio, source, worker=self._profile.name)
            # A transcriber takes `prompt` for preceding speech, so an instruction there harms a
            # real one; the simulator needs it to know what is asked.
            extra: dict[str, Any] = (
                {"prompt": request.prompt, "extra_headers": {TASK_TYPE_HEADER: request.task_type}}
                if self._profile.simulated
                else {}
            )
            raw = await client.audio.transcriptions.with_raw_response.create(
                model=self._profile.model,
                file=(audio.name, audio.content, audio.mime),
                response_format="json",
                temperature=request.temperature,
                **extra,
            )
            transcription: Any = raw.parse()
            texts.append(self._checked_content(getattr(transcription, "text", None), "stop", request))
            headers = raw.headers
            simulated_ms += _simulated_latency(headers)
            usage = getattr(transcription, "usage", None)
            input_tokens = _add(input_tokens, getattr(usage, "input_tokens", None))
            output_tokens = _add(output_tokens, getattr(usage, "output_tokens", None))
        content = "\n\n".join(texts)
        metadata = self._metadata(
            model=None,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            headers=headers,
            request=request,
            content=content,
        )
        if simulated_ms:
            metadata["simulated_latency_ms"] = round(sum(simulated_ms), 3)
        metadata["finish_reason"] = "stop"
        metadata["confidence"] = None
        return content, metadata

    def _sources(self, request: WorkerRequest, kind: str) -> list[str]:
        sources = [source for name, source in request.inputs.items() if name.startswith(kind)]
        if not sources:
            raise WorkerRequestError(
                f"The sub-task needs an {kind}, and its inputs are {sorted(request.inputs) or 'empty'}.",
                worker=self._profile.name,
                remedy=f"Add the input `{kind}`: a path or a data URL.",
            )
        return sources

    def _checked_content(self, content: object, finish_reason: str | None, request: WorkerRequest) -> str:
        if not isinstance(content, str):
            raise self._malformed("sent an answer without text.", "Check its `base_url` and `model`.")
        content = _HALF_CHARACTER.sub("\ufffd", content)  # JSON escapes can smuggle them in; no UTF-8 holds them
        if not content.strip():
            raise self._malformed(
                f"sent an empty answer (finish_reason {finish_reason!r}).",
                "Allow more output tokens." if finish_reason == "length" else None,
            )
        if request.json_schema is not None:
            try:
                json.loads(content)
            except (ValueError, RecursionError) as error:
                cut = " It was cut off: allow more output tokens." if finish_reason == "length" else ""
                raise self._malformed(
                    f"was asked for JSON and sent something else ({error}).{cut}", None, answer=content
                ) from None
        return content

    def _malformed(self, what: str, remedy: str | None, *, answer: str | None = None) -> MalformedResponseError:
        name = self._profile.name
        return MalformedResponseError(f"Worker {name!r} {what}", worker=name, remedy=remedy, answer=answer)

    def _metadata(
        self,
        *,
        model: object,
        input_tokens: object,
        output_tokens: object,
        headers: Any,
        request: WorkerRequest,
        content: str,
    ) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "model": model if isinstance(model, str) else self._profile.model,
            "simulated": self._profile.simulated or headers.get(SIMULATED_HEADER) == "true",
            "prompt_version": request.prompt_version,
        }
        if isinstance(input_tokens, int) and isinstance(output_tokens, int):
            metadata.update(input_tokens=input_tokens, output_tokens=output_tokens, usage_estimated=False)
        else:
            metadata.update(
                input_tokens=_estimate_tokens(request.system + request.prompt),
                output_tokens=_estimate_tokens(content),
                usage_estimated=True,
            )
        for simulated_ms in _simulated_latency(headers):
            metadata["simulated_latency_ms"] = simulated_ms
        return metadata


def _simulated_latency(headers: Any) -> list[float]:
    value = headers.get(SIMULATED_LATENCY_HEADER)
    try:
        return [] if value is None else [float(value)]
    except ValueError:
        return []


def _estimate_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def _add(total: int | None, more: object) -> int | None:
    return total + more if total is not None and isinstance(more, int) else None


def _mean_probability(logprobs: Any) -> float | None:
    tokens: Iterable[Any] = getattr(logprobs, "content", None) or ()
    probabilities = [
        math.exp(min(token.logprob, 0.0))
        for token in tokens
        if isinstance(getattr(token, "logprob", None), int | float)
    ]
    return sum(probabilities) / len(probabilities) if probabilities else None
