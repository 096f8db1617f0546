"""The network of StepStructure: pair evidence in, edges of the graph generator out."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestai.contracts import MAX_SUBTASKS
from orchestai.contracts.base import Record
from orchestai.planner.dropout import Dropout
from orchestai.planner.graph_generator import WorkflowGraphGenerator
from orchestai.planner.structure_features import NODE_FEATURES, PAIR_FEATURES


class StructureConfig(Record):
    """Sizes of the network; a checkpoint holds them.

    Attributes:
        hidden_size: Width H of the encoder.
        size: Width of a step and of a pair inside the network.
        node_size: Width of a node in the graph generator.
        max_subtasks: The most steps.
        gnn: Layer type of the graph generator.
        dropout: Share of activations dropped in training.
        members: Networks in the ensemble.
    """

    hidden_size: int
    size: int = 64
    node_size: int = 64
    max_subtasks: int = MAX_SUBTASKS
    gnn: Literal["gcn", "gat", "sage"] = "gat"
    dropout: float = 0.3
    members: int = 5


class StepBatch(NamedTuple):
    """B plans of at most S steps."""

    goals: Tensor  # (B, H)
    steps: Tensor  # (B, S, H)
    nodes: Tensor  # (B, S, node features)
    pairs: Tensor  # (B, S, S, pair features) [parent][child]
    mask: Tensor  # (B, S) true where there is a step


class StructureOutputs(NamedTuple):
    """Logits and probabilities of ordered pairs, [parent][child]."""

    direct: Tensor  # (B, S, S) logits of an edge, from the pair alone
    reach: Tensor  # (B, S, S) logits of: the parent comes before the child, directly or not
    generated: Tensor  # (B, S, S) the graph generator's edge probabilities
    edge_probs: Tensor  # (B, S, S) both together, raw: may hold cycles


class StructureNetwork(nn.Module):
    """Reads two steps side by side, then lets the graph generator see all pairs at once.

    What the pairs say takes the place of the decomposer's dependency outputs: it is an input of the
    generator's. Its own logit of an edge is averaged with the generator's: the generator sees the whole plan,
    the pair its features undiluted, and they err in different places.

    Args:
        config: Sizes.
    """

    node_mean: Tensor
    node_scale: Tensor
    pair_mean: Tensor
    pair_scale: Tensor

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        self.config = config
        size = config.size
        self.register_buffer("node_mean", torch.zeros(NODE_FEATURES))
        self.register_buffer("node_scale", torch.ones(NODE_FEATURES))
        self.register_buffer("pair_mean", torch.zeros(PAIR_FEATURES))
        self.register_buffer("pair_scale", torch.ones(PAIR_FEATURES))
        self.text = nn.Linear(config.hidden_size, size)
        self.goal = nn.Linear(config.hidden_size, size)
        self.node = nn.Linear(NODE_FEATURES, size)
        self.pair = nn.Linear(PAIR_FEATURES, size)
        self.parent = nn.Linear(size, size, bias=False)
        self.child = nn.Linear(size, size, bias=False)
        self.product = nn.Linear(size, size, bias=False)
        self.inner = nn.Linear(size, size)
        self.head = nn.Linear(size, 2)
        self.dropout = Dropout(config.dropout)
        self.graph = WorkflowGraphGenerator(
            subtask_size=3 * size,
            node_size=config.node_size,
            kind=config.gnn,
            max_subtasks=config.max_subtasks,
            dropout=config.dropout,
        )

    def forward(self, batch: StepBatch) -> StructureOutputs:
        """Score all ordered pairs of steps."""
        nodes = (batch.nodes - self.node_mean) / self.node_scale
        pairs = (batch.pairs - self.pair_mean) / self.pair_scale
        text = functional.gelu(self.text(self.dropout(batch.steps * _WIDEN)))  # (B, S, size)
        seen = functional.gelu(self.node(nodes))  # (B, S, size)
        goal = functional.gelu(self.goal(self.dropout(batch.goals * _WIDEN)))[:, None].expand_as(text)
        joined = self.dropout(text)
        hidden = (
            self.pair(pairs)
            + self.parent(joined)[:, :, None]
            + self.child(joined)[:, None, :]
            + self.product(joined[:, :, None] * joined[:, None, :])
        )  # (B, S, S, size)
        hidden = self.dropout(functional.gelu(hidden))
        hidden = hidden + self.dropout(functional.gelu(self.inner(hidden)))
        direct, reach = self.head(hidden).unbind(-1)  # (B, S, S) each
        real = batch.mask[:, :, None] & batch.mask[:, None, :]
        real = real & ~torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
        likely = direct.sigmoid() * real
        dependencies = functional.pad(likely.transpose(1, 2), (0, self.config.max_subtasks - likely.shape[1]))
        graph = self.graph(torch.cat([text, seen, goal], dim=-1), dependencies, batch.mask)
        generated = graph.edge_probs.clamp(1e-5, 1 - 1e-5)
        both = (0.5 * (torch.logit(generated) + direct)).sigmoid() * real
        return StructureOutputs(direct=direct, reach=reach, generated=generated, edge_probs=both)


_WIDEN = 384**0.5
"""Embeddings have length 1; layers like inputs of variance 1."""


class StructureEnsemble(nn.Module):
    """Networks that differ by initialisation, order of the rows and dropout only (arXiv:1612.01474).

    Args:
        config: Sizes, and the number of members.
    """

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(StructureNetwork(config) for _ in range(config.members))

    def networks(self) -> list[StructureNetwork]:
        """All members."""
        return [member for member in self.members if isinstance(member, StructureNetwork)]

    def edge_probs(self, batch: StepBatch) -> Tensor:
        """Mean of the members' edge probabilities [B, S, S]."""
        return torch.stack([network(batch).edge_probs for network in self.networks()]).mean(dim=0)
