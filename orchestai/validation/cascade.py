"""Eighteen small networks in three tiers, each tier trained as one batch.

Ten tiny ones see a tenth of the rows each, so every row has nine predictions by models that never saw it; five
small ones and three base ones leave their own fifth or third out. All predictions used anywhere are out of fold.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orchestai.validation.descent import OneCycleAdamW
from orchestai.validation.hashing import hash_rows

_FOLDS = 30
_PIECE = 16_384
TEMPERATURE_GRID = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Tier:
    """One tier: how many models, their hidden widths, and what share of the rows each sees."""

    name: str
    models: int
    hidden: tuple[int, ...]
    own_part_only: bool
    weight: float


TIERS = (
    Tier("tier_1", 10, (32,), True, 0.5),
    Tier("tier_2", 5, (64,), False, 1.5),
    Tier("tier_3", 3, (128, 64), False, 1.5),
)


class Prediction(NamedTuple):
    """What the cascade says of rows that it was not trained on."""

    probabilities: NDArray[np.float32]  # (n, classes)
    gradient_norms: NDArray[np.float32]  # (n,) of the loss by a tiny model's weights, mean over those that never saw it


class _Bag(nn.Module):
    """`models` networks of equal shape; inputs (models, batch, features), outputs (models, batch, classes)."""

    def __init__(self, models: int, sizes: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise(sizes):
            bound = (2.0 / max(fan_in, 1)) ** 0.5
            self.weights.append(nn.Parameter(torch.randn(models, fan_in, fan_out, generator=generator) * bound))
            self.biases.append(nn.Parameter(torch.zeros(models, 1, fan_out)))
        with torch.no_grad():
            self.weights[-1].mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if place:
                x = torch.relu(x)
            x = torch.baddbmm(bias, x, weight)
        return x

    def one(self, x: Tensor, model: int) -> Tensor:
        """Run one network alone; inputs (n, features), outputs (n, classes)."""
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if place:
                x = torch.relu(x)
            x = torch.addmm(bias[model, 0], x, weight[model])
        return x


class Cascade:
    """The trained tiers.

    Args:
        features: Width of the input.
        classes: Number of classes.
        seed: Of weights and of the order of rows.
        tiers: Sizes; `TIERS` by default.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        seed: int = 0,
        tiers: tuple[Tier, ...] = TIERS,
        device: torch.device | None = None,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.device = device or torch.device("cpu")
        self.mixed_precision = False
        self.classes = classes
        self.tiers = tiers
        sizes = [(features, *tier.hidden, classes) for tier in tiers]
        self.bags = [
            _Bag(tier.models, size, generator).to(self.device) for tier, size in zip(tiers, sizes, strict=True)
        ]
        self.temperature = 1.0
        self.seconds = 0.0
        self._seed = seed

    @property
    def parameters(self) -> int:
        """Return the number of weights of all models."""
        return sum(weight.numel() for bag in self.bags for weight in bag.parameters())

    @property
    def on_gpu(self) -> bool:
        """Whether the models are on a GPU."""
        return self.device.type == "cuda"

    def fit(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.int64],
        index: NDArray[np.int64],
        *,
        epochs: int = 6,
        batch: int = 256,
        rate: float = 6e-3,
    ) -> Prediction:
        """Train all tiers; returns out-of-fold predictions for the same rows.

        Args:
            x: Features (n, features).
            y: Classes (n,), -1 where unknown: these rows are not learned from.
            index: Row numbers (n,), which choose the folds.
            epochs: Passes of each model over its rows; more on few rows.
            batch: Rows a model sees in a step.
            rate: Largest learning rate.
        """
        started = time.perf_counter()
        folds = _fold(index, self._seed)
        known = y >= 0
        inputs = torch.from_numpy(np.ascontiguousarray(x)).to(self.device)
        targets = torch.from_numpy(y).to(self.device)
        for tier, bag in zip(self.tiers, self.bags, strict=True):
            own = folds % tier.models
            seen = [
                np.flatnonzero(known & ((own == model) if tier.own_part_only else (own != model)))
                for model in range(tier.models)
            ]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision and self.on_gpu):
                _train(bag, inputs, targets, seen, epochs=epochs, batch=batch, rate=rate, seed=self._seed)
        raw = self._logits(inputs.cpu(), folds, None)
        self.temperature = _temperature(raw[known], y[known])
        self.seconds = time.perf_counter() - started
        return self.predict(x, y, index)

    def predict(self, x: NDArray[np.float32], y: NDArray[np.int64], index: NDArray[np.int64]) -> Prediction:
        """Predict rows as if they had been in training: each by the models that its fold leaves out.

        New rows get folds too, so what is said of them is made as it is for the training rows.
        """
        folds = _fold(index, self._seed)
        norms = np.zeros(len(x), np.float32)
        logits = self._logits(torch.from_numpy(np.ascontiguousarray(x)), folds, (y, norms))
        return Prediction(_softmax(logits / self.temperature), norms)

    def predict_many(self, x: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predict without the tiny tier and without gradients: for millions of rows (n, classes)."""
        logits = self._logits(torch.from_numpy(np.ascontiguousarray(x)), _fold(index, self._seed), None, tiny=False)
        return _softmax(logits / self.temperature)

    def _logits(
        self,
        x: Tensor,
        folds: NDArray[np.int64],
        gradients: tuple[NDArray[np.int64], NDArray[np.float32]] | None,
        *,
        tiny: bool = True,
    ) -> NDArray[np.float32]:
        """Return the mean log-probabilities of the models that a row's fold leaves out (n, classes)."""
        total = torch.zeros(len(x), self.classes)
        used = [(t, bag) for t, bag in zip(self.tiers, self.bags, strict=True) if tiny or not t.own_part_only]
        with torch.no_grad():
            for start in range(0, len(x), _PIECE):
                piece = slice(start, start + _PIECE)
                rows = x[piece].to(self.device)
                summed = torch.zeros(len(rows), self.classes, device=self.device)
                for tier, bag in used:
                    own = torch.from_numpy(folds[piece] % tier.models).to(self.device)
                    if tier.own_part_only:
                        out = torch.log_softmax(bag(rows.expand(tier.models, *rows.shape)), -1)  # (models, n, classes)
                        # A tiny model saw its own part only: the others speak.
                        mine = out.sum(0) - out[own, torch.arange(len(rows), device=self.device)]
                        summed += tier.weight * mine / (tier.models - 1)
                        if gradients is not None:
                            y, norms = gradients
                            norms[piece] = _ghost_norms(bag, rows, y[piece], own)
                        continue
                    for model in range(tier.models):
                        places = (own == model).nonzero()[:, 0]
                        summed[places] += tier.weight * torch.log_softmax(bag.one(rows[places], model), -1)
                total[piece] = summed.cpu()
        return np.asarray((total / sum(tier.weight for tier, _ in used)).numpy())


def _fold(index: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    return (hash_rows(index, seed + 97) % np.uint64(_FOLDS)).astype(np.int64)


def _train(
    bag: _Bag,
    x: Tensor,
    y: Tensor,
    seen: list[NDArray[np.int64]],
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
) -> None:
    """Train all models of a bag at once; a model with fewer rows sees some of them again."""
    longest = max(len(rows) for rows in seen)
    if not min(len(rows) for rows in seen):
        return
    batch = min(batch, max(16, longest // 8))
    steps_an_epoch = -(-longest // batch)
    # A table of a few hundred rows needs more passes: at least 150 steps a model.
    epochs = min(40, max(epochs, -(-150 // steps_an_epoch)))
    rng = np.random.default_rng(seed)
    optimizer = OneCycleAdamW(bag.parameters(), rate=rate, steps=steps_an_epoch * epochs, decay=0.02)
    for _ in range(epochs):
        orders = np.stack([np.resize(rng.permutation(rows), steps_an_epoch * batch) for rows in seen])
        for step in range(steps_an_epoch):
            rows = torch.from_numpy(orders[:, step * batch : (step + 1) * batch]).to(x.device)
            logits = bag(x[rows])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), y[rows].flatten(), reduction="sum") / batch
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _ghost_norms(bag: _Bag, x: Tensor, y: NDArray[np.int64], own: Tensor) -> NDArray[np.float32]:
    """Return the norm of each row's gradient by the weights of a network with one hidden layer, over those not `own`.

    A layer's gradient for one row is an outer product, so its norm is the product of two norms (Goodfellow 2015,
    arXiv:1510.01799). The mean over the networks: by one alone, a row's norm says as much of the network as of the
    row. Rows without a class have 0.
    """
    w1, w2 = bag.weights
    b1, b2 = bag.biases
    models, rows = len(w1), torch.arange(len(x), device=x.device)
    hidden = torch.relu(torch.baddbmm(b1, x.expand(models, *x.shape), w1))  # (models, n, hidden)
    known = torch.from_numpy(y >= 0).to(x.device)
    delta2 = torch.softmax(torch.baddbmm(b2, hidden, w2), -1)
    delta2[:, rows, torch.from_numpy(y.clip(0)).to(x.device)] -= 1  # (models, n, classes)
    delta1 = torch.bmm(delta2, w2.transpose(1, 2)) * (hidden > 0)
    squared = delta2.square().sum(-1) * (hidden.square().sum(-1) + 1)
    squared += delta1.square().sum(-1) * (x.square().sum(1) + 1)
    norms = squared.sqrt()  # (models, n)
    norms[own, rows] = 0
    return np.asarray((norms.sum(0) / (models - 1) * known).cpu().numpy(), dtype=np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)


def _temperature(logits: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Return the temperature of the smallest out-of-fold loss (Guo et al. 2017), from a grid."""
    if not len(y):
        return 1.0
    rows = np.arange(len(y))
    losses = [-np.log(_softmax(logits / value)[rows, y].clip(1e-9)).mean() for value in TEMPERATURE_GRID]
    return TEMPERATURE_GRID[int(np.argmin(losses))]
