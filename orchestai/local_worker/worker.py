"""Does sub-tasks with a causal language model in this process."""

from __future__ import annotations

import asyncio
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from orchestai.contracts import Modality, WorkerOutput, WorkerProfile, WorkerRequest
from orchestai.errors import MalformedResponseError, WorkerError, WorkerRequestError, WorkerTimeoutError

if TYPE_CHECKING:
    from orchestai.local_worker.generation import Generation, Generator


class TransformersWorker:
    """A model of `transformers` behind the same protocol as a remote one.

    One thread runs the model, so calls stand in a queue; give the profile a `max_concurrency` of 1 and the waiting
    does not count against the model. A call that is cancelled, or whose time is over, ends at the next token.

    Args:
        profile: Its capability, price and speed facts; `model` is what answers are signed with.
        path: Folder of the checkpoint, or the name of one that is in the local cache; nothing is downloaded.
        device: Where to run, such as `cuda:1`; by default a GPU if there is one.
        dtype: Number format of the weights; by default that of the checkpoint on a GPU, float32 elsewhere.
        seed: For answers with a temperature; equal seeds and calls in equal order give equal answers.

    Raises:
        EndpointError: The checkpoint cannot be loaded.
    """

    def __init__(
        self,
        profile: WorkerProfile,
        path: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        seed: int = 0,
    ) -> None:
        from orchestai.local_worker.generation import Generator

        self._profile = profile
        self._generator: Generator = Generator(path, worker=profile.name, device=device, dtype=dtype, seed=seed)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"orchestai-{profile.name}")

    def __repr__(self) -> str:
        return f"TransformersWorker({self._profile.name!r}, device={self.device!r})"

    @property
    def profile(self) -> WorkerProfile:
        """Its capability, price and speed facts."""
        return self._profile

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._generator.device

    async def run(self, request: WorkerRequest) -> WorkerOutput:
        """Do one sub-task; the deadline covers the time in the queue too.

        Raises:
            WorkerError: The most specific type.
        """
        self._check(request)
        limit_s = min(request.timeout_s or math.inf, self._profile.timeout_s)
        started = time.monotonic()
        generation = self._generator.prepare(request)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.get_running_loop().run_in_executor(self._thread, generation.run)
        except TimeoutError:
            raise WorkerTimeoutError(
                f"Worker {self._profile.name!r} gave no complete answer within {limit_s:g} s.",
                worker=self._profile.name,
                remedy="Raise its `timeout_s`, or use a faster worker.",
            ) from None
        except RuntimeError as error:  # torch's base of out-of-memory and device errors
            raise WorkerError(
                f"Worker {self._profile.name!r} failed ({type(error).__name__}: {str(error)[:300]}).",
                worker=self._profile.name,
            ) from None
        finally:
            generation.stop()
        return self._output(generation, request, started)

    async def aclose(self) -> None:
        """Wait for the call under way, if any, and give the memory back."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        self._generator.unload()

    def _check(self, request: WorkerRequest) -> None:
        if request.modality is not Modality.CHAT:
            raise WorkerRequestError(
                f"Worker {self._profile.name!r} does not do {request.modality.value!r}; it does chat.",
                worker=self._profile.name,
                remedy="Assign another worker.",
            )

    def _output(self, generation: Generation, request: WorkerRequest, started: float) -> WorkerOutput:
        name = self._profile.name
        content = generation.text
        if not content.strip():
            raise MalformedResponseError(
                f"Worker {name!r} sent an empty answer (finish_reason {generation.finish_reason!r}).", worker=name
            )
        if request.json_schema is not None:
            try:
                json.loads(content)
            except (ValueError, RecursionError) as error:
                raise MalformedResponseError(
                    f"Worker {name!r} was asked for JSON and sent something else ({error}).",
                    worker=name,
                    answer=content,
                ) from None
        return WorkerOutput(
            content=content,
            metadata={
                "model": self._profile.model,
                "simulated": False,
                "prompt_version": request.prompt_version,
                "input_tokens": generation.input_tokens,
                "output_tokens": generation.output_tokens,
                "usage_estimated": False,
                "finish_reason": generation.finish_reason,
                "confidence": generation.confidence,
            },
            cost=self._profile.cost_usd(generation.input_tokens, generation.output_tokens),
            latency_ms=(time.monotonic() - started) * 1000,
        )
