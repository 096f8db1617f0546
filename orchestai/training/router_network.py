"""The attention network of the router, as it is trained."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestai.routing.attention import TOKENS, AttentionNetwork

Array = npt.NDArray[np.float64]


class NetworkShape(NamedTuple):
    """Sizes.

    Attributes:
        inputs: Z, scaled features of a sub-task.
        workers: W.
        description: Width of the embedding of a worker's description.
        families: K, for the auxiliary head.
        hidden: H.
        width: D, of tokens and workers.
    """

    inputs: int
    workers: int
    description: int
    families: int
    hidden: int = 128
    width: int = 48


class RouterNetwork(nn.Module):
    """A worker asks the task: its vector is the query, tokens of the task are keys and values.

    Heads: success and output tokens a worker, and the family of the task, which only training uses.

    Args:
        shape: Sizes.
        descriptions: [W, description] embeddings of what the workers say of themselves.
        dropout: Share of activations dropped.
    """

    def __init__(self, shape: NetworkShape, descriptions: Tensor, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.drop = nn.Dropout(dropout)
        self.enter = nn.Linear(shape.inputs, shape.hidden)
        self.deepen = nn.Linear(shape.hidden, shape.hidden)
        self.tokens = nn.Linear(shape.hidden, TOKENS * shape.width)
        self.keys_values = nn.Linear(shape.width, 2 * shape.width)
        self.queries = nn.Linear(shape.width, shape.width)
        self.mix = nn.Linear(2 * shape.width, shape.width)
        self.heads = nn.Linear(shape.width, 2)
        self.affinity = nn.Linear(shape.hidden, shape.width)
        self.family = nn.Linear(shape.hidden, shape.families)
        self.describe = nn.Linear(shape.description, shape.width)
        self.learned = nn.Parameter(0.1 * torch.randn(shape.workers, shape.width))
        self.register_buffer("descriptions", descriptions)

    def worker_vectors(self) -> Tensor:
        """Return [W, D]; in training some learned parts are left out, so that descriptions must do."""
        learned: Tensor = self.learned
        if self.training:
            learned = learned * (torch.rand(len(learned), 1) > 0.15)
        return learned + self.describe(self.descriptions)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return success logits [N, W], log tokens [N, W] and family logits [N, K] for [N, Z]."""
        gelu = functional.gelu
        hidden = gelu(self.enter(self.drop(inputs)), approximate="tanh")  # (N, H)
        hidden = hidden + gelu(self.deepen(self.drop(hidden)), approximate="tanh")
        hidden = self.drop(hidden)
        workers = self.worker_vectors()
        tokens = self.tokens(hidden).view(len(inputs), TOKENS, self.shape.width)
        keys, values = self.keys_values(tokens).chunk(2, -1)
        scores = torch.einsum("wd,ntd->nwt", self.queries(workers), keys) / math.sqrt(self.shape.width)
        context = torch.einsum("nwt,ntd->nwd", torch.softmax(scores, -1), values)
        both = torch.cat([context, workers.expand(len(inputs), -1, -1)], -1)
        heads = self.heads(self.drop(gelu(self.mix(both), approximate="tanh")))
        return heads[..., 0] + self.affinity(hidden) @ workers.T, heads[..., 1], self.family(hidden)

    def exported(self) -> AttentionNetwork:
        """Return the weights in the form that is used without torch."""
        self.eval()
        with torch.no_grad():
            workers = self.worker_vectors().numpy().astype(np.float64)
        skipped = ("family", "describe", "learned", "descriptions")
        weights = {
            name: tensor.numpy().astype(np.float64)
            for name, tensor in self.state_dict().items()
            if name.split(".")[0] not in skipped
        }
        return AttentionNetwork(weights=weights, workers=workers)


def train_network(
    inputs: Array,
    scores: Array,
    output_tokens: Array,
    labels: npt.NDArray[np.int64],
    descriptions: Array,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    dropout: float,
    weight_decay: float,
) -> AttentionNetwork:
    """Train one member.

    Args:
        inputs: [N, Z].
        scores: [N, W]; NaN does not count.
        output_tokens: [N, W]; NaN does not count.
        labels: [N] family.
        descriptions: [W, E].
        seed: Equal seeds give equal weights on one machine.
        epochs: Passes over the data.
        batch_size: Sub-tasks a step.
        learning_rate: Peak of a one-cycle schedule of AdamW.
        dropout: Share of activations dropped.
        weight_decay: Of AdamW.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        data = [torch.tensor(np.nan_to_num(each), dtype=torch.float32) for each in (inputs, scores)]
        tokens = torch.tensor(np.nan_to_num(np.log1p(output_tokens)), dtype=torch.float32)
        scored = torch.tensor(~np.isnan(scores), dtype=torch.float32)
        counted = torch.tensor(~np.isnan(output_tokens), dtype=torch.float32)
        families = torch.tensor(labels)
        shape = NetworkShape(inputs.shape[1], scores.shape[1], descriptions.shape[1], int(labels.max()) + 1)
        network = RouterNetwork(shape, torch.tensor(descriptions, dtype=torch.float32), dropout)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
        steps = epochs * math.ceil(len(inputs) / batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.15)
        network.train()
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(batch_size):
                success, length, family = network(data[0][rows])
                loss = _mean(
                    functional.binary_cross_entropy_with_logits(success, data[1][rows], reduction="none"), scored[rows]
                )
                loss = loss + 0.1 * _mean((length - tokens[rows]) ** 2, counted[rows])
                loss = loss + 0.3 * functional.cross_entropy(family, families[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return network.exported()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1.0)
