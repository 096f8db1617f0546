"""Training of StepStructure, read from top to bottom."""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from orchestai.checkpoint.manifest import ManifestFields
from orchestai.checkpoint.store import save_checkpoint
from orchestai.contracts.base import Record
from orchestai.contracts.steps import StepPlan
from orchestai.embeddings.protocol import TextEncoder
from orchestai.embeddings.threads import torch_threads
from orchestai.errors import DataError
from orchestai.planner.structure import (
    CHECKPOINT_KIND,
    EncodedSteps,
    StepStructure,
    StructureSetup,
    encode_steps,
    make_step_batch,
)
from orchestai.planner.structure_decoding import reduced
from orchestai.planner.structure_network import (
    StepBatch,
    StructureConfig,
    StructureEnsemble,
    StructureNetwork,
    StructureOutputs,
)
from orchestai.planner.structure_prior import Edges


class StructureRecipe(Record):
    """Numbers of the training; chosen by cross-validation on AsyncHow's training and validation plans.

    Attributes:
        seed: Of the first member; the others count on from it.
        epochs: Passes over the data.
        batch_size: Plans a step.
        learning_rate: Peak, after a warm-up over 5 %; it falls along a cosine.
        weight_decay: Of AdamW.
        pair_weight: Weight of the losses of the pair evidence (edge, and comes-before) beside the edge loss.
        members: Networks in the ensemble.
        size: Width of the network.
        dropout: Share of activations dropped.
    """

    seed: int = 0
    epochs: int = Field(default=16, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    pair_weight: float = Field(default=0.5, ge=0)
    members: int = Field(default=4, ge=1)
    size: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)


class StructureResult(NamedTuple):
    """What came of a training."""

    checkpoint: Path
    structure: StepStructure
    history: list[dict[str, Any]]
    seconds: float


class _Lesson(NamedTuple):
    """One plan and its edges."""

    encoded: EncodedSteps
    edges: Edges


def train_structure(
    recipe: StructureRecipe,
    plans: Sequence[StepPlan],
    *,
    encoder: TextEncoder,
    out: Path,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> StructureResult:
    """Train on all of `plans` and write the checkpoint to `out`.

    The number of epochs is fixed: on a thousand plans, the epoch that looks best on a validation part is
    mostly luck, and the part is worth more as training data.

    Args:
        recipe: Numbers of the training.
        plans: What to learn from; plans of one step teach nothing and are left out.
        encoder: Frozen text encoder.
        out: Folder of the checkpoint.
        on_epoch: Called with each row of the history.

    Raises:
        DataError: No plan has two steps, one has too many, or the loss is not finite.
        StorageError: The checkpoint cannot be written.
    """
    started = time.monotonic()
    sizes = StructureConfig(
        hidden_size=encoder.hidden_size,
        size=recipe.size,
        node_size=recipe.size,
        dropout=recipe.dropout,
        members=recipe.members,
    )
    lessons = _lessons(plans, encoder, sizes.max_subtasks)
    history: list[dict[str, Any]] = []
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        ensemble = StructureEnsemble(sizes)
        _standardise(ensemble, lessons)
        for member, network in enumerate(ensemble.networks()):
            torch.manual_seed(recipe.seed * 1009 + member)
            rng = random.Random(recipe.seed * 1009 + member)
            for row in _train_member(network, lessons, recipe, rng):
                history.append({"member": member, **row})
                if on_epoch:
                    on_epoch(history[-1])
    ensemble.eval()
    shapes = _shapes(lessons)
    setup = StructureSetup(
        network=sizes,
        encoder=encoder.name,
        encoder_identity=encoder.identity,
        shapes={size: tuple(sorted(found.items())) for size, found in shapes.items()},
    )
    seconds = time.monotonic() - started
    fields = ManifestFields(
        kind=CHECKPOINT_KIND,
        data_hash=_digest(plans),
        seed=recipe.seed,
        metrics={"train_loss": history[-1]["train_loss"], "seconds": seconds},
        history=tuple(history),
        notes={"plans": len(lessons), "recipe": recipe.model_dump(mode="json")},
    )
    manifest = save_checkpoint(out, ensemble.state_dict(), setup.model_dump(mode="json"), fields)
    return StructureResult(out, StepStructure(ensemble, encoder, shapes, manifest.digest), history, seconds)


def _train_member(
    network: StructureNetwork, lessons: Sequence[_Lesson], recipe: StructureRecipe, rng: random.Random
) -> Iterator[dict[str, Any]]:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    steps = math.ceil(len(lessons) / recipe.batch_size)
    network.train()
    for epoch in range(1, recipe.epochs + 1):
        total = 0.0
        order = rng.sample(range(len(lessons)), len(lessons))
        for step in range(steps):
            picked = [lessons[i] for i in order[step * recipe.batch_size : (step + 1) * recipe.batch_size]]
            rate = _rate((epoch - 1) * steps + step, steps * recipe.epochs)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate
            batch = make_step_batch([lesson.encoded for lesson in picked])
            loss = structure_loss(network(batch), gold_edges(picked, batch), batch, recipe.pair_weight)
            if not torch.isfinite(loss):
                raise DataError(
                    f"The loss is {float(loss)} in epoch {epoch}, step {step + 1}.",
                    remedy="Lower learning_rate; look for broken embeddings.",
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            total += float(loss.detach()) * len(picked)
        yield {"epoch": epoch, "train_loss": total / len(lessons)}


def structure_loss(outputs: StructureOutputs, gold: Tensor, batch: StepBatch, pair_weight: float) -> Tensor:
    """Binary cross-entropy of the generator's edges, and of what the pairs alone say.

    A pair counts by one over the square root of the number of pairs of its plan: long plans have
    quadratically many, but count as one plan in the metric.

    Args:
        outputs: The network's.
        gold: [B, S, S] 1 where the row is a parent of the column.
        batch: The input; its mask says which steps are real.
        pair_weight: Weight of the pairs' own losses.
    """
    real = batch.mask[:, :, None] & batch.mask[:, None, :]
    real = real & ~torch.eye(real.shape[1], dtype=torch.bool)
    weights = real / real.sum(dim=(1, 2), keepdim=True).clamp(min=1).sqrt()
    weights = weights / weights.sum().clamp(min=1e-9)
    edge = functional.binary_cross_entropy(outputs.generated, gold, reduction="none")
    direct = functional.binary_cross_entropy_with_logits(outputs.direct, gold, reduction="none")
    reach = functional.binary_cross_entropy_with_logits(outputs.reach, _closed(gold), reduction="none")
    return ((edge + pair_weight * (direct + reach)) * weights).sum()


def gold_edges(lessons: Sequence[_Lesson], batch: StepBatch) -> Tensor:
    """Edges as [B, S, S], row = parent."""
    size = batch.mask.shape[1]
    gold = torch.zeros(len(lessons), size, size)
    for row, lesson in enumerate(lessons):
        for parent, child in lesson.edges:
            gold[row, parent, child] = 1.0
    return gold


def _closed(gold: Tensor) -> Tensor:
    reach = gold
    for _ in range(max(1, math.ceil(math.log2(max(2, gold.shape[1]))))):
        reach = ((reach + reach @ reach) > 0).to(gold.dtype)  # doubles the length of the paths that it knows
    return reach


def _lessons(plans: Sequence[StepPlan], encoder: TextEncoder, most: int) -> list[_Lesson]:
    plans = [plan for plan in plans if len(plan.steps) > 1]
    if not plans:
        raise DataError("No plan has two steps or more.", remedy="Give plans with edges to learn from.")
    long = next((plan for plan in plans if len(plan.steps) > most), None)
    if long is not None:
        raise DataError(f"The plan {long.id!r} has {len(long.steps)} steps, at most {most} are allowed.")
    # All texts in one call: the encoder sorts them by length, so that little is spent on padding.
    texts = list(dict.fromkeys(text for plan in plans for text in (plan.goal, *plan.steps)))
    known = _Known(texts, encoder)
    return [_Lesson(encode_steps(plan.goal, plan.steps, known), reduced(len(plan.steps), plan.edges)) for plan in plans]


class _Known:
    """Stands for the encoder where all texts are embedded already: no text is encoded twice."""

    def __init__(self, texts: Sequence[str], encoder: TextEncoder) -> None:
        self._rows: dict[str, npt.NDArray[np.float32]] = {}
        for start in range(0, len(texts), 512):  # token states of all texts at once would not fit in memory
            part = texts[start : start + 512]
            self._rows.update(zip(part, encoder.encode(part), strict=True))
        self.name, self.identity, self.hidden_size = encoder.name, encoder.identity, encoder.hidden_size
        self.encode_tokens = encoder.encode_tokens

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.stack([self._rows[text] for text in texts])


def _standardise(ensemble: StructureEnsemble, lessons: Sequence[_Lesson]) -> None:
    nodes = np.concatenate([lesson.encoded.features.nodes for lesson in lessons])
    pairs = [lesson.encoded.features.pairs for lesson in lessons]
    flat = np.concatenate([rows.reshape(-1, rows.shape[-1]) for rows in pairs])
    for network in ensemble.networks():
        network.node_mean.copy_(torch.from_numpy(nodes.mean(axis=0)))
        network.node_scale.copy_(torch.from_numpy(nodes.std(axis=0).clip(1e-3)))
        network.pair_mean.copy_(torch.from_numpy(flat.mean(axis=0)))
        network.pair_scale.copy_(torch.from_numpy(flat.std(axis=0).clip(1e-3)))


def _shapes(lessons: Sequence[_Lesson]) -> dict[int, Counter[Edges]]:
    shapes: dict[int, Counter[Edges]] = {}
    for lesson in lessons:
        shapes.setdefault(len(lesson.encoded.steps), Counter())[lesson.edges] += 1
    return shapes


def _rate(step: int, total: int) -> float:
    """Linear warm-up over 5 %, then a cosine to a fiftieth."""
    return min(1.0, (step + 1) / (0.05 * total)) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))


def _digest(plans: Sequence[StepPlan]) -> str:
    digest = hashlib.sha256()
    for plan in plans:
        digest.update(plan.model_dump_json().encode())
    return digest.hexdigest()
