"""The encoder's last layers learn what the task types look like in an instruction, before anything else is trained.

A frozen sentence encoder says what a text is about; a plan needs to know what it asks for. The layers are trained
with the evidence network on top (does the type occur?), every type of the catalog that does not occur being a
negative. Afterwards they are frozen, so that all later passes read states that are computed once.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orchestai.config import Phase1Config
from orchestai.contracts import PlanExample
from orchestai.embeddings.known import KnownTexts
from orchestai.embeddings.protocol import TextEncoder
from orchestai.embeddings.transformer import TransformerEncoder
from orchestai.errors import DataError, InputError
from orchestai.planner.agreement import PlanShape
from orchestai.planner.evidence import TypeEvidence
from orchestai.planner.shapes import DescribedTypes, EncodedInstructions
from orchestai.training.clock import Spent
from orchestai.training.encoder_layers import pass_layers
from orchestai.training.halves import Halves
from orchestai.training.losses import presence_loss
from orchestai.training.rows import Features, Sorted, type_counts
from orchestai.training.state import Averages, TrainingState, load_state, save_state

BATCH = 16
"""Texts a step."""

HEAD_RATE = 1e-3
AVERAGE_DECAY = 0.98
_BUCKET = 16

_log = logging.getLogger(__name__)


class TunedEncoder(NamedTuple):
    """What came of the tuning."""

    encoder: TextEncoder
    layers: Mapping[str, Tensor] = MappingProxyType({})  # weights of the last layers, float16; empty if not tuned
    evidence: Mapping[str, Tensor] = MappingProxyType({})  # weights of the evidence network trained on top
    history: Sequence[dict[str, Any]] = ()


class _Student(nn.Module):
    """Encoder layers with an evidence network on top."""

    def __init__(self, layers: nn.ModuleList, evidence: TypeEvidence) -> None:
        super().__init__()
        self.layers = layers
        self.evidence = evidence

    def forward(self, states: Tensor, mask: Tensor, hints: Tensor, types: DescribedTypes) -> Tensor:
        """Presence logits [B, K, 2] from the states [B, T, H] that enter the layers."""
        hidden = pass_layers(self.layers, states, mask)
        encoded = EncodedInstructions(hidden[:, 0], hidden, mask)
        presence: Tensor = self.evidence(encoded, self.evidence.tables(types), hints).presence
        return presence


class _Texts(NamedTuple):
    states: list[npt.NDArray[np.float32]]  # (T, H) each
    counts: Tensor  # (N, K)
    hints: npt.NDArray[np.float32]  # (N, K, features)


def can_tune(encoder: TextEncoder, config: Phase1Config) -> bool:
    """Whether the recipe asks for tuning and the encoder has layers that can be tuned."""
    wanted = bool(config.encoder_layers and config.encoder_epochs)
    able = isinstance(encoder, TransformerEncoder) and encoder.depth > 0
    if wanted and not able:
        _log.info("The encoder %r is not of the BERT family and stays as it is.", encoder.name)
    return wanted and able


def tune_encoder(
    encoder: TextEncoder,
    *,
    examples: Sorted,
    features: Features,
    types: DescribedTypes,
    evidence: TypeEvidence,
    config: Phase1Config,
    folder: Path,
    fingerprint: str,
    device: torch.device,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> TunedEncoder:
    """Tune the last `config.encoder_layers` layers; the epoch with the least validation loss is kept.

    Args:
        encoder: The encoder as it comes; it is not changed.
        examples: Training and validation instructions with their plans.
        features: What the words say of them.
        types: The catalog.
        evidence: Initial evidence network; it is trained as well.
        config: The recipe's numbers.
        folder: Where the state after each epoch is kept.
        fingerprint: Of all that a resumed training must share with the killed one.
        device: Where to train.
        on_epoch: Called with each row of the history.

    Raises:
        DataError: The loss is not finite.
        InputError: The encoder has no layers to tune.
        StorageError: The state cannot be written.
    """
    if not isinstance(encoder, TransformerEncoder) or not encoder.depth:
        raise InputError(f"The encoder {encoder.name!r} has no layers to tune.", remedy="Set encoder_layers: 0.")
    count = min(config.encoder_layers, encoder.depth)
    student = _Student(encoder.upper_layers(count), evidence).to(device)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(student.layers.parameters()), "rate": config.encoder_learning_rate},
            {"params": list(student.evidence.parameters()), "rate": HEAD_RATE},
        ],
        weight_decay=config.weight_decay,
        fused=True,
    )
    averages = Averages(student, AVERAGE_DECAY)
    state = load_state(folder, fingerprint, student, optimizer, averages) or TrainingState()
    train = _texts(encoder, count, examples.train, examples.shapes, features.train)
    held = _texts(encoder, count, examples.validation, examples.held_shapes, features.held)
    for epoch in range(state.epoch + 1, config.encoder_epochs + 1):
        begun = Spent.now()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed * 100_019 + epoch)
            loss = _run_epoch(student, optimizer, averages, train, types, config, epoch, device)
        with averages.swapped_in(student):
            held_loss = _held_loss(student, held, types, device) if held.states else loss
            row = {
                "stage": "encoder",
                "epoch": epoch,
                "train_loss": loss,
                "validation_loss": held_loss,
                "metrics": {},
                **begun.until_now(),
            }
            state.see(row, student)
        save_state(folder, fingerprint, state, student, optimizer, averages)
        if on_epoch:
            on_epoch(row)
    # Rounded before the first use, so that a loaded checkpoint sees exactly the states that were trained on.
    layers = {
        name.removeprefix("layers."): tensor.half().cpu()
        for name, tensor in state.best.items()
        if name.startswith("layers.")
    }
    student.layers.load_state_dict({name: tensor.float() for name, tensor in layers.items()})
    tuned = encoder.with_upper_layers({name: tensor.float() for name, tensor in layers.items()}, cached=False)
    read = {
        example.instruction: states
        for part, texts in ((examples.train, train), (examples.validation, held))
        for example, states in zip(part, _read(student, texts.states, device), strict=True)
    }
    return TunedEncoder(
        encoder=KnownTexts(tuned, read),  # the layers below have read these texts once, and that is enough
        layers=layers,
        evidence={
            name.removeprefix("evidence."): tensor
            for name, tensor in state.best.items()
            if name.startswith("evidence.")
        },
        history=state.history,
    )


def _texts(
    encoder: TransformerEncoder,
    count: int,
    examples: Sequence[PlanExample],
    shapes: Sequence[PlanShape],
    hints: npt.NDArray[np.float32],
) -> _Texts:
    return _Texts(
        states=encoder.states_below([example.instruction for example in examples], count),
        counts=type_counts(shapes, hints.shape[1]),
        hints=hints,
    )


def _run_epoch(
    student: _Student,
    optimizer: torch.optim.Optimizer,
    averages: Averages,
    data: _Texts,
    types: DescribedTypes,
    config: Phase1Config,
    epoch: int,
    device: torch.device,
) -> float:
    student.train()
    batches = _batches(data.states, random.Random(config.seed * 100_019 + epoch))
    total = 0.0
    with Halves(student, config.seed * 100_019 + epoch) as halves:
        for step, picked in enumerate(batches):
            rate = _rate((epoch - 1) * len(batches) + step, len(batches) * config.encoder_epochs)
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * rate
            loss = halves.backward(_shares(data, picked, types, device))
            if not math.isfinite(loss):
                raise DataError(
                    f"The loss of the encoder is {loss} in epoch {epoch}, step {step + 1}.",
                    remedy="Lower encoder_learning_rate in training/phase1.yml, or set encoder_layers: 0.",
                )
            torch.nn.utils.clip_grad_norm_(student.parameters(), config.grad_clip)
            optimizer.step()
            averages.update(student)
            total += loss * len(picked)
    return total / len(data.states)


def _shares(
    data: _Texts, picked: Sequence[int], types: DescribedTypes, device: torch.device
) -> list[Callable[[_Student], Tensor]]:
    """The loss of a batch as a sum of two; a GPU is better used by the whole."""
    middle = len(picked) // 2 if device.type == "cpu" else 0
    parts = [part for part in (picked[:middle], picked[middle:]) if part]
    occurrences = [float(data.counts[list(part)].sum()) for part in parts]  # what the loss is a mean over

    def share(part: Sequence[int], weight: float) -> Callable[[_Student], Tensor]:
        return lambda student: _loss(student, data, part, types, device) * weight

    return [share(part, own / sum(occurrences)) for part, own in zip(parts, occurrences, strict=True)]


def _held_loss(student: _Student, data: _Texts, types: DescribedTypes, device: torch.device) -> float:
    student.eval()
    with torch.inference_mode():
        losses = [
            float(_loss(student, data, picked, types, device)) * len(picked) for picked in _by_length(data.states)
        ]
    return sum(losses) / len(data.states)


def _read(
    student: _Student, below: Sequence[npt.NDArray[np.float32]], device: torch.device
) -> list[npt.NDArray[np.float16]]:
    """States of each text after the layers, from those that enter them."""
    student.eval()
    found: dict[int, npt.NDArray[np.float16]] = {}
    with torch.inference_mode():
        for picked in _by_length(below):
            states, mask = _padded([below[index] for index in picked])
            after = pass_layers(student.layers, states.to(device), mask.to(device)).cpu().numpy()
            found |= {
                index: row[: len(below[index])].astype(np.float16) for index, row in zip(picked, after, strict=True)
            }
    return [found[index] for index in range(len(below))]


def _loss(
    student: _Student, data: _Texts, picked: Sequence[int], types: DescribedTypes, device: torch.device
) -> Tensor:
    states, mask = _padded([data.states[index] for index in picked])
    hints = torch.from_numpy(data.hints[list(picked)])
    presence = student(states.to(device), mask.to(device), hints.to(device), types)
    return presence_loss(presence, data.counts[list(picked)].to(device))


def _padded(rows: Sequence[npt.NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """States [B, T, H] and mask [B, T]."""
    width = max(len(row) for row in rows)
    states = torch.zeros(len(rows), width, rows[0].shape[1])
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        states[place, : len(row)] = torch.from_numpy(row)
        mask[place, : len(row)] = True
    return states, mask


def _by_length(states: Sequence[npt.NDArray[np.float32]]) -> list[list[int]]:
    """All texts once, those of like length together."""
    order = sorted(range(len(states)), key=lambda index: len(states[index]))
    return [order[at : at + 2 * BATCH] for at in range(0, len(order), 2 * BATCH)]


def _batches(states: Sequence[npt.NDArray[np.float32]], rng: random.Random) -> list[list[int]]:
    """Shuffled batches of texts of like length."""
    order = rng.sample(range(len(states)), len(states))
    batches = []
    for start in range(0, len(order), BATCH * _BUCKET):
        near = sorted(order[start : start + BATCH * _BUCKET], key=lambda index: len(states[index]))
        batches += [near[at : at + BATCH] for at in range(0, len(near), BATCH)]
    rng.shuffle(batches)
    return batches


def _rate(step: int, total: int) -> float:
    """Linear warm-up over 6 %, then a cosine to a twentieth."""
    warm = max(1.0, 0.06 * total)
    if step < warm:
        return (step + 1) / warm if step + 1 < warm else 1.0
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, total - warm)))
