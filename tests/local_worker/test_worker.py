from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import CONTEXT, TEMPLATE, make_checkpoint, profile

from orchestai.contracts import Modality, Worker, WorkerRequest
from orchestai.errors import EndpointError, MalformedResponseError, WorkerRequestError, WorkerTimeoutError
from orchestai.local_worker import TransformersWorker


def request(**fields: Any) -> WorkerRequest:
    return WorkerRequest(**({"task_type": "generation", "prompt": "the capital of France"} | fields))


async def test_a_greedy_answer_is_that_of_the_model_itself(worker: TransformersWorker, checkpoint: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    protocol: Worker = worker
    output = await protocol.run(request(system="be brief", max_output_tokens=12))

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    prompt = "<|system|>be brief<|end|><|user|>the capital of France<|end|><|assistant|>"
    tokens = tokenizer(prompt, return_tensors="pt").input_ids
    length = tokens.shape[1]
    probabilities = []
    with torch.inference_mode():
        for _ in range(12):
            row = model(tokens).logits[0, -1].softmax(-1)
            best = row.argmax()
            probabilities.append(float(row[best]))
            tokens = torch.cat([tokens, best.view(1, 1)], dim=1)
            if int(best) == tokenizer.eos_token_id:
                break
    assert output.content == tokenizer.decode(tokens[0, length:], skip_special_tokens=True).strip()
    written = len(probabilities)
    assert output.metadata == {
        "model": "tiny-llama",
        "simulated": False,
        "prompt_version": None,
        "input_tokens": length,
        "output_tokens": written,
        "usage_estimated": False,
        "finish_reason": "length",
        "confidence": pytest.approx(sum(probabilities) / written, rel=1e-4),
    }
    assert output.cost == pytest.approx((length * 1 + written * 4) / 1e6)


async def test_temperature_zero_repeats_itself_and_one_does_not(worker: TransformersWorker) -> None:
    cold = {(await worker.run(request())).content for _ in range(3)}
    warm = {(await worker.run(request(temperature=1.0))).content for _ in range(3)}
    assert len(cold) == 1
    assert len(warm) == 3


async def test_equal_seeds_give_equal_warm_answers(checkpoint: Path) -> None:
    answers = []
    for _ in range(2):
        worker = TransformersWorker(profile(), checkpoint, device="cpu", seed=5)
        answers.append((await worker.run(request(temperature=1.0))).content)
        await worker.aclose()
    assert answers[0] == answers[1]


async def test_an_end_token_stops_the_answer(tmp_path: Path) -> None:
    worker = TransformersWorker(profile(), make_checkpoint(tmp_path, eos_bias=12.0), device="cpu")
    outputs = []
    for number in range(12):
        with contextlib.suppress(MalformedResponseError):  # the end came first: an empty answer
            outputs.append(await worker.run(request(prompt=f"question {number}", max_output_tokens=40)))
    await worker.aclose()
    ended = [output for output in outputs if output.metadata["finish_reason"] == "stop"]
    assert ended, "the raised end token must win somewhere"
    assert all(output.metadata["output_tokens"] < 40 for output in ended)
    assert all("<|end|>" not in output.content for output in ended)


async def test_the_answer_keeps_within_the_context(worker: TransformersWorker) -> None:
    output = await worker.run(request(max_output_tokens=5000))
    assert output.metadata["input_tokens"] + output.metadata["output_tokens"] == CONTEXT
    with pytest.raises(WorkerRequestError, match=f"{CONTEXT} at most"):
        await worker.run(request(prompt="France " * 200))


async def test_json_is_asked_for_and_checked(worker: TransformersWorker) -> None:
    with pytest.raises(MalformedResponseError, match="asked for JSON") as caught:
        await worker.run(request(prompt="x", json_schema={"type": "object"}, max_output_tokens=4))
    assert caught.value.answer


@pytest.mark.parametrize("modality", [Modality.VISION, Modality.AUDIO, Modality.EMBEDDING])
async def test_it_only_chats(worker: TransformersWorker, modality: Modality) -> None:
    with pytest.raises(WorkerRequestError, match=f"does not do '{modality.value}'"):
        await worker.run(request(modality=modality))


async def test_templates_without_a_system_role_and_no_template_at_all(tmp_path: Path) -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    without = TransformersWorker(profile(), make_checkpoint(tmp_path / "a", template=refuses), device="cpu")
    folded = await without.run(request(system="be brief", max_output_tokens=2))
    plain = await without.run(request(prompt="be brief\n\nthe capital of France", max_output_tokens=2))
    assert folded.metadata["input_tokens"] == plain.metadata["input_tokens"]
    await without.aclose()
    base = TransformersWorker(profile(), make_checkpoint(tmp_path / "b", template=None), device="cpu")
    bare = await base.run(request(system="be brief", max_output_tokens=2))
    assert bare.metadata["input_tokens"] == plain.metadata["input_tokens"] - 3, "no role marks, no end mark"
    await base.aclose()


class Steps:
    """Counts the model's steps and lets a test hold them up."""

    def __init__(self, worker: TransformersWorker, *, hold_at: int) -> None:
        self.count = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._hold_at = hold_at
        model = worker._generator.model
        model.register_forward_pre_hook(lambda *_args: self._step())

    def _step(self) -> None:
        self.count += 1
        if self.count == self._hold_at:
            self.reached.set()
            assert self.go_on.wait(30)


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_call_ends_at_the_next_token(worker: TransformersWorker, how: str) -> None:
    steps = Steps(worker, hold_at=3)
    limit_s = 0.2 if how == "late" else None
    task = asyncio.create_task(worker.run(request(max_output_tokens=70, timeout_s=limit_s)))
    assert await asyncio.to_thread(steps.reached.wait, 30)
    if how == "cancelled":
        task.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else WorkerTimeoutError):
        await task
    steps.go_on.set()
    after = await worker.run(request(max_output_tokens=2))
    assert after.metadata["output_tokens"] == 2
    assert steps.count == 3 + 2, "the third step was the last of the first call"


async def test_one_call_at_a_time_and_a_cancelled_one_in_the_queue_never_begins(worker: TransformersWorker) -> None:
    steps = Steps(worker, hold_at=1)
    first = asyncio.create_task(worker.run(request(max_output_tokens=4)))
    assert await asyncio.to_thread(steps.reached.wait, 30)
    second = asyncio.create_task(worker.run(request(max_output_tokens=4)))
    third = asyncio.create_task(worker.run(request(max_output_tokens=4)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert steps.count == 1, "the third waits while the first is in its first step"
    steps.go_on.set()
    assert (await first).content == (await third).content
    assert steps.count == 8


async def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"cannot be loaded from .*model\.safetensors"):
        TransformersWorker(profile(), tmp_path, device="cpu")


async def test_closing_gives_the_model_back(checkpoint: Path) -> None:
    from orchestai.errors import WorkerError

    worker = TransformersWorker(profile(), checkpoint, device="cpu")
    await worker.aclose()
    assert worker._generator.model is None
    with pytest.raises(WorkerError):
        await worker.run(request())


def test_torch_loads_when_a_worker_is_built() -> None:
    code = "import sys, orchestai.local_worker; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.gpu
async def test_a_gpu_is_taken_by_itself(checkpoint: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    worker = TransformersWorker(profile(), checkpoint)
    assert worker.device == "cuda"
    assert (await worker.run(request(max_output_tokens=3))).metadata["output_tokens"] == 3
    await worker.aclose()
