"""Transcriptions through the `openai` package: forms with files are its business, and seldom hot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestai.contracts import WorkerProfile, WorkerRequest
from orchestai.workers.chat_format import TASK_TYPE_HEADER, checked_content, metadata, simulated_latency_ms
from orchestai.workers.media import load_audio

if TYPE_CHECKING:
    from openai import AsyncOpenAI


async def transcribe(
    client: AsyncOpenAI, profile: WorkerProfile, request: WorkerRequest, sources: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Return the texts of the recordings, joined, and the metadata of the whole.

    Raises:
        WorkerError: Our own checks fail; errors of the SDK are raised as they are.
    """
    texts: list[str] = []
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    headers: Any = {}
    simulated_ms: list[float] = []
    for source in sources:
        audio = await asyncio.to_thread(load_audio, source, worker=profile.name)
        # A transcriber takes `prompt` for preceding speech, so an instruction there harms a
        # real one; the simulator needs it to know what is asked.
        extra: dict[str, Any] = (
            {"prompt": request.prompt, "extra_headers": {TASK_TYPE_HEADER: request.task_type}}
            if profile.simulated
            else {}
        )
        raw = await client.audio.transcriptions.with_raw_response.create(
            model=profile.model,
            file=(audio.name, audio.content, audio.mime),
            response_format="json",
            temperature=request.temperature,
            **extra,
        )
        transcription: Any = raw.parse()
        texts.append(checked_content(getattr(transcription, "text", None), "stop", request, profile.name))
        headers = raw.headers
        played_ms = simulated_latency_ms(headers)
        if played_ms is not None:
            simulated_ms.append(played_ms)
        usage = getattr(transcription, "usage", None)
        input_tokens = _add(input_tokens, getattr(usage, "input_tokens", None))
        output_tokens = _add(output_tokens, getattr(usage, "output_tokens", None))
    content = "\n\n".join(texts)
    facts = metadata(
        profile,
        request,
        headers,
        model=None,
        content=content,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )
    if simulated_ms:
        facts["simulated_latency_ms"] = round(sum(simulated_ms), 3)
    facts["finish_reason"] = "stop"
    facts["confidence"] = None
    return content, facts


def _add(total: int | None, more: object) -> int | None:
    return total + more if total is not None and isinstance(more, int) else None
