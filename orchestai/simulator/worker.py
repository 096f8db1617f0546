"""A simulated worker in this process: mock mode, without any network."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestai.contracts import Modality, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import (
    MalformedResponseError,
    RateLimitedError,
    WorkerRequestError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)
from orchestai.simulator.model import SimulatedCall, SimulatedModel, SimulatedReply


class SimulatedWorker:
    """Behaves as the simulator's server seen through a client: same answers, tokens, costs and errors.

    Args:
        profile: The worker; it must have a simulation profile.
        seed: Equal seeds give equal answers, latencies and faults.
        references: Accepted answers by the text that asks for them.
        time_scale: Factor on the simulated latency; 0 answers at once.
    """

    def __init__(
        self,
        profile: WorkerProfile,
        *,
        seed: int = 7,
        references: Mapping[str, str] | None = None,
        time_scale: float = 1.0,
    ) -> None:
        self._model = SimulatedModel(profile, seed, references)
        self._time_scale = time_scale

    def __repr__(self) -> str:
        return f"SimulatedWorker({self.profile.name!r})"

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._model.profile

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task.

        Raises:
            WorkerError: The most specific type, as a real worker would.
        """
        name = self.profile.name
        if request.modality not in self.profile.modalities:
            raise WorkerRequestError(
                f"Worker {name!r} does not do {request.modality.value!r}.",
                worker=name,
                remedy="Assign another worker, or extend `modalities` in its profile.",
            )
        limit_s = min(request.timeout_s or math.inf, self.profile.timeout_s)
        started = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                replies = [await self._reply(call) for call in await self._calls(request)]
        except TimeoutError:
            raise WorkerTimeoutError(
                f"Worker {name!r} gave no complete answer within {limit_s:g} s.",
                worker=name,
                remedy="Raise its `timeout_s`, or use a faster worker.",
            ) from None
        return self._output(request, replies, (time.monotonic() - started) * 1000)

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _calls(self, request: WorkerRequest) -> list[SimulatedCall]:
        if request.modality is Modality.AUDIO:
            sizes = await asyncio.gather(*(self._size(s, "audio") for s in self._sources(request, "audio")))
            return [SimulatedCall(request.task_type, request.prompt, audio_bytes=size) for size in sizes]
        images = self._sources(request, "image") if request.modality is Modality.VISION else []
        for source in images:
            await self._size(source, "image")
        return [
            SimulatedCall(
                request.task_type,
                request.prompt,
                request.system,
                images=len(images),
                max_tokens=request.max_output_tokens,
                json_schema=request.json_schema,
            )
        ]

    async def _reply(self, call: SimulatedCall) -> SimulatedReply:
        reply = self._model.reply(call)
        await asyncio.sleep(reply.latency_ms * self._time_scale / 1000)
        name = self.profile.name
        if reply.fault is not None and reply.fault.status == 429:
            raise RateLimitedError(
                f"Worker {name!r} answered 429: {reply.fault.message}",
                worker=name,
                retry_after_s=scaled_retry_after(reply.fault.retry_after_s, self._time_scale),
            )
        if reply.fault is not None:
            raise WorkerUnavailableError(
                f"Worker {name!r} answered {reply.fault.status}: {reply.fault.message}", worker=name
            )
        if call.json_schema is not None and not _is_json(reply.text):
            raise MalformedResponseError(
                f"Worker {name!r} was asked for JSON and its answer was cut off: allow more output tokens.",
                worker=name,
            )
        return reply

    def _output(self, request: WorkerRequest, replies: list[SimulatedReply], latency_ms: float) -> WorkerOutput:
        input_tokens = sum(reply.input_tokens for reply in replies)
        output_tokens = sum(reply.output_tokens for reply in replies)
        return WorkerOutput(
            content="\n\n".join(reply.text for reply in replies),
            metadata={
                "model": self.profile.model,
                "simulated": True,
                "prompt_version": request.prompt_version,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "usage_estimated": False,
                "simulated_latency_ms": round(sum(round(reply.latency_ms, 3) for reply in replies), 3),
                "finish_reason": replies[-1].finish_reason,
                # The transcriptions endpoint reports no probabilities.
                "confidence": None if request.modality is Modality.AUDIO else replies[-1].confidence,
            },
            cost=self.profile.cost_usd(input_tokens, output_tokens),
            latency_ms=latency_ms,
        )

    def _sources(self, request: WorkerRequest, kind: str) -> list[str]:
        sources = [source for name, source in request.inputs.items() if name.startswith(kind)]
        if not sources:
            raise WorkerRequestError(
                f"The sub-task needs an {kind}, and its inputs are {sorted(request.inputs) or 'empty'}.",
                worker=self.profile.name,
                remedy=f"Add the input `{kind}`: a path or a data URL.",
            )
        return sources

    async def _size(self, source: str, kind: str) -> int:
        try:
            if source.startswith("data:"):
                return len(base64.b64decode(source.partition(",")[2], validate=True))
            return (await asyncio.to_thread(Path(source).stat)).st_size
        except (OSError, ValueError, binascii.Error) as error:
            raise WorkerRequestError(
                f"The {kind} {source[:120]!r} cannot be read ({type(error).__name__}).",
                worker=self.profile.name,
                remedy="Give the path of an existing file, or a data URL.",
            ) from None


def scaled_retry_after(seconds: float | None, time_scale: float) -> float:
    """Return the pause that a 429 asks for, in the simulation's time."""
    return round((seconds or 0.0) * time_scale, 3)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def simulation_headers(reply: SimulatedReply) -> dict[str, Any]:
    """Return the headers by which every HTTP answer says that it is simulated."""
    return {
        "x-orchestai-simulated": "true",
        "x-orchestai-simulated-latency-ms": f"{reply.latency_ms:.3f}",
    }
