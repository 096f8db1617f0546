"""Chat completions of the OpenAI format: the body of a request, and what an answer says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from orchestai.contracts import WorkerProfile, WorkerRequest
from orchestai.errors import MalformedResponseError, WorkerRequestError

CHARS_PER_TOKEN = 4
TASK_TYPE_HEADER = "x-orchestai-task-type"
SIMULATED_HEADER = "x-orchestai-simulated"
SIMULATED_LATENCY_HEADER = "x-orchestai-simulated-latency-ms"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")

UserContent = str | list[dict[str, Any]]


def asks_for_max_completion_tokens(base_url: str) -> bool:
    """Say whether the endpoint is OpenAI's own, which has retired `max_tokens`; most others know nothing else."""
    return urlsplit(base_url).hostname == "api.openai.com"


def chat_body(
    profile: WorkerProfile,
    request: WorkerRequest,
    user: UserContent,
    *,
    limit_key: str,
    logprobs: bool,
    stream: bool = False,
) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        profile: Who is asked.
        request: What is asked.
        user: Content of the user's message.
        limit_key: `max_tokens`, or its successor where that is known.
        logprobs: Ask for token probabilities.
        stream: Ask for the answer in pieces, with the usage at the end.
    """
    messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    body: dict[str, Any] = {
        "model": profile.model,
        "messages": messages,
        "temperature": request.temperature,
        limit_key: request.max_output_tokens,
    }
    if request.json_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "schema": request.json_schema,
                "strict": request.json_schema.get("additionalProperties") is False,
            },
        }
    if logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = 1
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


class Answer:
    """What one chat completion says, whole or gathered piece by piece."""

    __slots__ = ("content", "finish_reason", "input_tokens", "model", "output_tokens", "probabilities", "simulated")

    def __init__(self) -> None:
        self.content: object = None
        self.finish_reason: str | None = None
        self.model: object = None
        self.input_tokens: object = None
        self.output_tokens: object = None
        self.probabilities: list[float] = []
        self.simulated = False

    def read_common(self, payload: Mapping[str, Any]) -> None:
        """Take over what completions and their chunks have in common: model, usage, who made it."""
        model = payload.get("model")
        if model is not None:
            self.model = model
        if payload.get("system_fingerprint") == "simulated":
            self.simulated = True
        usage = payload.get("usage")
        if isinstance(usage, dict):
            self.input_tokens = usage.get("prompt_tokens")
            self.output_tokens = usage.get("completion_tokens")

    def read_choice(self, choice: Mapping[str, Any]) -> None:
        """Take over why the answer ended, if it did, and the tokens' probabilities."""
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self.finish_reason = reason
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            self.probabilities += _probabilities(logprobs.get("content"))

    @property
    def confidence(self) -> float | None:
        """Mean probability of the answer's tokens, where the endpoint gave any."""
        return sum(self.probabilities) / len(self.probabilities) if self.probabilities else None


def read_completion(payload: Mapping[str, Any], worker: str) -> Answer:
    """Return what a whole completion says; `content` is as it came.

    Raises:
        MalformedResponseError: It has no choice.
        WorkerRequestError: The model refuses.
    """
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise malformed(worker, "sent no choices; the answer is not in the OpenAI format.", "Check its `base_url`.")
    check_refusal(message.get("refusal"), worker)
    answer = Answer()
    answer.read_common(payload)
    answer.read_choice(choice)
    answer.content = message.get("content")
    return answer


def check_refusal(refusal: object, worker: str) -> None:
    """Raise if the model refuses.

    Raises:
        WorkerRequestError: It does.
    """
    if refusal:
        raise WorkerRequestError(f"Worker {worker!r} refuses: {str(refusal)[:200]}", worker=worker)


def checked_content(content: object, finish_reason: str | None, request: WorkerRequest, worker: str) -> str:
    """Return an answer's text if it is one, and JSON if that was asked for.

    Raises:
        MalformedResponseError: It is not.
    """
    if not isinstance(content, str):
        raise malformed(worker, "sent an answer without text.", "Check its `base_url` and `model`.")
    content = mend_text(content)
    if not content.strip():
        raise malformed(
            worker,
            f"sent an empty answer (finish_reason {finish_reason!r}).",
            "Allow more output tokens." if finish_reason == "length" else None,
        )
    if request.json_schema is not None:
        try:
            json.loads(content)
        except (ValueError, RecursionError) as error:
            cut = " It was cut off: allow more output tokens." if finish_reason == "length" else ""
            raise malformed(
                worker, f"was asked for JSON and sent something else ({error}).{cut}", None, answer=content
            ) from None
    return content


def mend_text(text: str) -> str:
    """Return `text` without halves of characters: JSON escapes can smuggle them in, and no UTF-8 holds them."""
    if text.isascii():
        return text
    return _HALF_CHARACTER.sub("\ufffd", text)


def malformed(worker: str, what: str, remedy: str | None, *, answer: str | None = None) -> MalformedResponseError:
    """Return the error for an answer of `worker` that is not what was asked for."""
    return MalformedResponseError(f"Worker {worker!r} {what}", worker=worker, remedy=remedy, answer=answer)


def metadata(
    profile: WorkerProfile,
    request: WorkerRequest,
    headers: Mapping[str, str],
    *,
    model: object,
    content: str,
    input_tokens: object,
    output_tokens: object,
) -> dict[str, Any]:
    """Return the metadata that answers of all kinds have; usage is estimated where the endpoint gave none."""
    known = _is_count(input_tokens) and _is_count(output_tokens)
    facts: dict[str, Any] = {
        "model": model if isinstance(model, str) else profile.model,
        "simulated": profile.simulated or headers.get(SIMULATED_HEADER) == "true",
        "prompt_version": request.prompt_version,
        "input_tokens": input_tokens if known else estimate_tokens(request.system + request.prompt),
        "output_tokens": output_tokens if known else estimate_tokens(content),
        "usage_estimated": not known,
    }
    simulated_ms = simulated_latency_ms(headers)
    if simulated_ms is not None:
        facts["simulated_latency_ms"] = simulated_ms
    return facts


def simulated_latency_ms(headers: Mapping[str, str]) -> float | None:
    """Return the latency that a simulator says it played."""
    value = headers.get(SIMULATED_LATENCY_HEADER)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` has."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _probabilities(tokens: object) -> list[float]:
    entries: Iterable[Any] = tokens if isinstance(tokens, list) else ()
    logprobs = (entry.get("logprob") for entry in entries if isinstance(entry, dict))
    return [math.exp(min(value, 0.0)) for value in logprobs if isinstance(value, int | float) and not math.isnan(value)]
