"""The torch half of a local worker: load a checkpoint, and write one answer token by token."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList, StoppingCriteria
from transformers.generation.stopping_criteria import StoppingCriteriaList

from orchestai.contracts import WorkerRequest
from orchestai.errors import EndpointError, WorkerRequestError


class Generator:
    """A loaded model. One thread at a time may run a generation.

    Args:
        path: Folder of the checkpoint, or its name in the local cache.
        worker: Whose model it is, for errors.
        device: Where to run; by default a GPU if there is one.
        dtype: Number format of the weights.
        seed: For answers with a temperature.

    Raises:
        EndpointError: The checkpoint cannot be loaded.
    """

    def __init__(self, path: str | Path, *, worker: str, device: str | None, dtype: str | None, seed: int) -> None:
        self.worker = worker
        self.device = device or _best_device()
        wanted = dtype or ("float32" if self.device == "cpu" else "auto")
        try:
            # No remote code: a checkpoint is data.
            self.tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=wanted
            )
            self.model: Any = model.to(self.device).eval()
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
            raise EndpointError(
                f"The model of worker {worker!r} cannot be loaded from {str(path)!r} "
                f"({type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}).",
                remedy="Name a folder with config.json, a tokenizer and model.safetensors that this machine can hold.",
            ) from error
        self.random = torch.Generator(device="cpu").manual_seed(seed)

    def prepare(self, request: WorkerRequest) -> Generation:
        """Return the generation that answers `request`; it has not begun."""
        return Generation(self, request)

    def unload(self) -> None:
        """Let go of the weights; nothing can be generated afterwards."""
        self.model = None
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


class Generation:
    """One answer. `run` belongs to the model's thread; the results are there when it has returned.

    Attributes:
        text: The answer.
        input_tokens: Tokens of the prompt, template included.
        output_tokens: Tokens written.
        finish_reason: `stop` if the model ended the answer itself, `length` if the limit did.
        confidence: Mean probability of the tokens as the model gave it, before any temperature.
    """

    def __init__(self, generator: Generator, request: WorkerRequest) -> None:
        self._generator = generator
        self._request = request
        self._stopped = threading.Event()
        self.text = ""
        self.input_tokens = 0
        self.output_tokens = 0
        self.finish_reason = "stop"
        self.confidence: float | None = None

    def stop(self) -> None:
        """End it at the next token, or before it begins; safe from any thread, and after the end."""
        self._stopped.set()

    def run(self) -> None:
        """Write the answer.

        Raises:
            WorkerRequestError: The prompt leaves no room for an answer.
        """
        if self._stopped.is_set():
            return
        generator = self._generator
        prompt = self._encode()  # (1, T)
        self.input_tokens = prompt.shape[1]
        watch = _Watch(self._stopped)
        with torch.inference_mode(), torch.random.fork_rng(devices=self._cuda_devices()):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator.random)))
            written: Tensor = generator.model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=self._room(self.input_tokens),
                stopping_criteria=StoppingCriteriaList([watch]),
                logits_processor=LogitsProcessorList([watch.before]),
                pad_token_id=_pad_token(generator.tokenizer),
                **_sampling(self._request.temperature),
            )  # (1, T + N)
        answer = written[0, self.input_tokens :]  # (N,)
        self.output_tokens = len(answer)
        ended = self.output_tokens > 0 and int(answer[-1]) in _end_tokens(generator)
        self.finish_reason = "stop" if ended else "length"
        self.text = generator.tokenizer.decode(answer, skip_special_tokens=True).strip()
        self.confidence = watch.mean_probability()

    def _encode(self) -> Tensor:
        tokenizer = self._generator.tokenizer
        system, prompt = self._system(), self._request.prompt
        folded = [{"role": "user", "content": f"{system}\n\n{prompt}" if system else prompt}]
        if tokenizer.chat_template is None:  # a base model: plain text is all that it knows
            encoded: Tensor = tokenizer(folded[0]["content"], return_tensors="pt").input_ids
        else:
            apart = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
            try:
                encoded = _apply_template(tokenizer, apart if system else folded)
            except TemplateError:  # some templates refuse the role `system`
                encoded = _apply_template(tokenizer, folded)
        return encoded.to(self._generator.device)

    def _system(self) -> str:
        schema = self._request.json_schema
        if schema is None:
            return self._request.system
        asked = f"Answer with JSON only, without a fence. It must fit this JSON Schema: {json.dumps(schema)}"
        return f"{self._request.system}\n\n{asked}".strip()

    def _room(self, used: int) -> int:
        """Return how many tokens may be written: the request's limit, within the model's context."""
        positions = getattr(self._generator.model.config, "max_position_embeddings", None)
        left = positions - used if isinstance(positions, int) else self._request.max_output_tokens
        if left < 1:
            raise WorkerRequestError(
                f"The prompt has {used} tokens, and worker {self._generator.worker!r} reads {positions} at most, "
                "answer included.",
                worker=self._generator.worker,
                remedy="Shorten the input, or assign a worker with a longer context.",
            )
        return min(left, self._request.max_output_tokens)

    def _cuda_devices(self) -> list[int]:
        device = torch.device(self._generator.device)
        return [device.index or 0] if device.type == "cuda" else []


class _Watch(StoppingCriteria):
    """Looks at each token: ends the answer when told to, and keeps the token's probability."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._probabilities: list[Tensor] = []
        self.before = _Scores()

    def __call__(self, input_ids: Tensor, scores: Any, **_more: Any) -> Tensor:
        if self.before.last is not None:
            chosen = torch.log_softmax(self.before.last[0].float(), dim=-1)[input_ids[0, -1]]  # ()
            self._probabilities.append(chosen)
        return torch.full((input_ids.shape[0],), self._stopped.is_set(), device=input_ids.device)

    def mean_probability(self) -> float | None:
        if not self._probabilities:
            return None
        mean = float(torch.stack(self._probabilities).exp().mean())
        return mean if math.isfinite(mean) else None


class _Scores(LogitsProcessor):
    """Keeps the logits of the next token as the model gave them; it changes nothing."""

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.last = scores
        return scores


def _apply_template(tokenizer: Any, messages: list[dict[str, str]]) -> Tensor:
    rendered = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    tokens: Tensor = rendered["input_ids"]  # (1, T)
    return tokens


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _sampling(temperature: float) -> dict[str, Any]:
    if temperature == 0:
        # The checkpoint's own settings for sampling would only draw a warning here.
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}


def _end_tokens(generator: Generator) -> set[int]:
    configured = generator.model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured, generator.tokenizer.eos_token_id]
    return {token for token in ids if token is not None}


def _pad_token(tokenizer: Any) -> int | None:
    pad: int | None = tokenizer.pad_token_id
    return pad if pad is not None else tokenizer.eos_token_id
