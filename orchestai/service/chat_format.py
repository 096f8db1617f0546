"""OpenAI's chat format: what comes in becomes an instruction, what comes out looks like a completion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestai.app.executions import Execution
from orchestai.service.answers import usage_of
from orchestai.service.problems import ProblemError
from orchestai.service.requests import Body, InstructionFields

MODEL = "orchestai"

_AUDIO_TYPES = {"mp3": "mpeg", "m4a": "mp4"}


class _Part(BaseModel):
    """A piece of a message, or a message; fields that OrchestAI has no use for are allowed."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TextPart(_Part):
    """Text."""

    type: Literal["text"]
    text: str


class ImageURL(_Part):
    """Where an image is: a data URL."""

    url: str


class ImagePart(_Part):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageURL


class AudioData(_Part):
    """A recording, as base64."""

    data: str
    format: Annotated[str, Field(pattern=r"^[a-z0-9]{1,8}$")]


class AudioPart(_Part):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: AudioData


Part = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class ChatMessage(_Part):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class StreamOptions(_Part):
    """What a stream holds beside the text."""

    include_usage: bool = False


class ResponseFormat(_Part):
    """The form of the answer; only plain text is offered."""

    type: Literal["text"]


class ChatRequest(Body):
    """The body of `POST /v1/chat/completions`.

    The sampling of workers belongs to their configuration, so `temperature` and its like are taken and have no
    effect. What would change the meaning of the answer and is not offered (tools, several choices, forced formats)
    is refused.

    Attributes:
        model: `orchestai`.
        messages: The conversation. The last message of the user is the instruction; what stands around it, its
            context.
        stream: Send the answer as server-sent events.
        stream_options: What a stream holds beside the text.
        user: Taken as the session.
        n: Choices; only one is offered.
        response_format: Only plain text is offered.
        orchestai: What belongs to an instruction and has no place in OpenAI's format.
    """

    model: str = Field(min_length=1, max_length=255)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = 1
    response_format: ResponseFormat | None = None
    orchestai: InstructionFields = InstructionFields()

    user: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


def read_conversation(request: ChatRequest) -> tuple[str, dict[str, str]]:
    """Return the instruction and the material of a conversation.

    Raises:
        ProblemError: The user says nothing.
    """
    last = max((place for place, message in enumerate(request.messages) if message.role == "user"), default=None)
    if last is None:
        raise ProblemError(
            400, "no_instruction", "No message of the user is there.", remedy="Add one.", param="messages"
        )
    said = [_text_of(message) for message in request.messages]
    context = "\n\n".join(
        f"{message.role.capitalize()}: {said[place]}"
        for place, message in enumerate(request.messages)
        if place != last and said[place]
    )
    inputs = {"text": context} if context else {}
    counts = {"image": 0, "audio": 0}
    for message in (request.messages[last], *request.messages[:last]):  # what is asked about now comes first
        for kind, url in _media_of(message):
            counts[kind] += 1
            inputs[kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"] = url
    return said[last], inputs


def completion(execution: Execution) -> dict[str, Any]:
    """Return an execution as a completion."""
    message = {"role": "assistant", "content": execution.result.answer, "refusal": None}
    return {
        **_common(execution.result.execution_id, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(execution)}],
        "usage": _usage(execution),
        "orchestai": _extras(execution),
    }


def chunk(execution_id: str, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """Return one piece of a streamed completion."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**_common(execution_id, "chat.completion.chunk"), "choices": [choice]}


def last_chunks(execution: Execution, *, usage: bool) -> Iterator[dict[str, Any]]:
    """Return what ends a streamed completion."""
    execution_id = execution.result.execution_id
    yield {**chunk(execution_id, {}, _reason(execution)), "orchestai": _extras(execution)}
    if usage:
        yield {**_common(execution_id, "chat.completion.chunk"), "choices": [], "usage": _usage(execution)}


def _common(execution_id: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{execution_id}", "object": kind, "created": int(time.time()), "model": MODEL}


def _reason(execution: Execution) -> str:
    return "stop" if execution.result.completed else "length"  # a budget or a deadline ended it


def _usage(execution: Execution) -> dict[str, int]:
    usage = usage_of(execution.result)
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _extras(execution: Execution) -> dict[str, Any]:
    result = execution.result
    return {
        "execution_id": result.execution_id,
        "success": result.success,
        "simulated": result.simulated,
        "cost_usd": result.total_cost,
        "latency_ms": result.total_latency_ms,
        "subtasks": len(result.subtasks),
    }


def _text_of(message: ChatMessage) -> str:
    if isinstance(message.content, list):
        return "\n".join(part.text for part in message.content if isinstance(part, TextPart))
    return message.content or ""


def _media_of(message: ChatMessage) -> Iterator[tuple[str, str]]:
    for part in message.content if isinstance(message.content, list) else ():
        if isinstance(part, ImagePart):
            yield "image", part.image_url.url
        elif isinstance(part, AudioPart):
            kind = _AUDIO_TYPES.get(part.input_audio.format, part.input_audio.format)
            yield "audio", f"data:audio/{kind};base64,{part.input_audio.data}"
