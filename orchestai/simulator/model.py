"""The behaviour of a simulated worker, in one place: server and in-process worker only transport it."""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestai.contracts import SimulationProfile, WorkerProfile
from orchestai.errors import InputError
from orchestai.simulator.answers import extractive_answer, wrong_answer
from orchestai.simulator.references import ReferenceBook
from orchestai.simulator.structured import schema_instance

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 85
AUDIO_BYTES_PER_TOKEN = 3200
"""A tenth of a second of 16 kHz mono speech."""

_REMEMBERED_PROMPTS = 65_536


class SimulatedCall(NamedTuple):
    """What reaches a simulated worker, however it got there."""

    task_type: str
    prompt: str
    system: str = ""
    images: int = 0
    audio_bytes: int = 0
    max_tokens: int | None = None
    json_schema: Mapping[str, Any] | None = None


class Fault(NamedTuple):
    """A call that fails."""

    status: int
    message: str
    retry_after_s: float | None = None


class SimulatedReply(NamedTuple):
    """What a simulated worker does with a call; with a fault, the text is empty.

    Attributes:
        text: The answer.
        input_tokens: Size of the call.
        output_tokens: Size of the answer.
        latency_ms: Time that it takes, before any time scale.
        confidence: Mean token probability: higher for right answers, but not a giveaway.
        finish_reason: `stop`, or `length` if the answer was cut.
        fault: Why there is no answer.
    """

    text: str
    input_tokens: int
    output_tokens: int
    latency_ms: float
    confidence: float
    finish_reason: str
    fault: Fault | None = None


class SimulatedModel:
    """Answers as a worker's simulation profile says, a pure function of seed, worker, call and attempt.

    The n-th call with the same task type, system prompt and prompt is attempt n: a retry meets another fate,
    and a second model with the same seed repeats the history of the first.

    Args:
        profile: The worker; it must have a simulation profile.
        seed: Equal seeds give equal answers, latencies and faults.
        references: Accepted answers by the text that asks for them.
    """

    def __init__(self, profile: WorkerProfile, seed: int = 7, references: Mapping[str, str] | None = None) -> None:
        if profile.simulation is None:
            raise InputError(
                f"Worker {profile.name!r} has no simulation profile.",
                remedy="Add `simulation:` to it, or call its real endpoint.",
            )
        self._profile = profile
        self._simulation: SimulationProfile = profile.simulation
        self._seed = seed
        self._references = references if isinstance(references, ReferenceBook) else ReferenceBook(references)
        self._attempts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def profile(self) -> WorkerProfile:
        """The worker that is played."""
        return self._profile

    def reply(self, call: SimulatedCall) -> SimulatedReply:
        """Return what the worker does with this call."""
        rng = self._random(call)
        fate, luck = rng.random(), rng.random()
        latency_ms = self._simulation.latency_ms * math.exp(self._simulation.latency_sigma * rng.gauss(0, 1))
        fault = self._fault(fate)
        if fault is not None:
            return SimulatedReply("", 0, 0, latency_ms, 0.0, "stop", fault)
        quality = self._simulation.quality_of(call.task_type)
        right = luck < quality
        text, finish_reason = self._text(call, right, rng), "stop"
        if call.max_tokens is not None and len(text) > call.max_tokens * CHARS_PER_TOKEN:
            text, finish_reason = text[: call.max_tokens * CHARS_PER_TOKEN], "length"
        # Answers keep some doubt and errors some assurance, as with real models.
        confidence = min(max(0.35 + 0.3 * quality + (0.2 if right else 0.0) + rng.gauss(0, 0.08), 0.05), 0.99)
        return SimulatedReply(
            text,
            self._input_tokens(call),
            max(1, math.ceil(len(text) / CHARS_PER_TOKEN)),
            latency_ms,
            round(confidence, 4),
            finish_reason,
        )

    def _random(self, call: SimulatedCall) -> random.Random:
        parts = (str(self._seed), self._profile.name, call.task_type, call.system, call.prompt)
        digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16)
        key = digest.digest()
        with self._lock:
            attempt = self._attempts.pop(key, 0) + 1
            self._attempts[key] = attempt
            if len(self._attempts) > _REMEMBERED_PROMPTS:
                self._attempts.popitem(last=False)
        digest.update(attempt.to_bytes(8, "big"))
        return random.Random(digest.digest())

    def _fault(self, fate: float) -> Fault | None:
        if fate < self._simulation.error_rate:
            return Fault(500, "The simulated worker failed, as its profile wants it to now and then.")
        if fate < self._simulation.error_rate + self._simulation.rate_limit_rate:
            return Fault(429, "The simulated worker is busy, as its profile wants it now and then.", 1.0)
        return None

    def _text(self, call: SimulatedCall, right: bool, rng: random.Random) -> str:
        known = self._references.find(call.prompt)
        if known is None:
            text = extractive_answer(call.task_type, call.prompt, rng)
        elif right:
            text = self._references[known]
        else:
            text = wrong_answer(self._references[known], rng)
        if call.json_schema is None:
            return text
        about = known or _last_paragraph(call.prompt)
        instance = schema_instance(call.json_schema, text=text if known else about[:200], about=about, rng=rng)
        return json.dumps(instance, ensure_ascii=False)

    def _input_tokens(self, call: SimulatedCall) -> int:
        return (
            max(1, math.ceil((len(call.system) + len(call.prompt)) / CHARS_PER_TOKEN))
            + call.images * IMAGE_TOKENS
            + math.ceil(call.audio_bytes / AUDIO_BYTES_PER_TOKEN)
        )


def _last_paragraph(prompt: str) -> str:
    paragraphs = [paragraph.strip() for paragraph in prompt.split("\n\n") if paragraph.strip()]
    return paragraphs[-1] if paragraphs else prompt
