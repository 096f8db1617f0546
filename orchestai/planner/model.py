"""PlannerNetwork: evidence, decomposer, graph generator and selector as one module."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from orchestai.contracts import MAX_SUBTASKS, TaskCatalog, WorkerCatalog
from orchestai.contracts.base import Record
from orchestai.embeddings.protocol import TextEncoder
from orchestai.planner.decomposer import Memory, TaskDecomposer
from orchestai.planner.evidence import TypeEvidence
from orchestai.planner.graph_generator import WorkflowGraphGenerator
from orchestai.planner.hints import FEATURES
from orchestai.planner.new_types import judge_by_text
from orchestai.planner.selector import RLModelSelector, able_workers, worker_facts
from orchestai.planner.shapes import (
    DescribedTypes,
    DescribedWorkers,
    EncodedInstructions,
    Evidence,
    GeneratedGraph,
    PlannerOutputs,
    Selection,
    TypeTables,
)


class NetworkConfig(Record):
    """Sizes of the network; a checkpoint holds them.

    Attributes:
        hidden_size: Width H of the encoder.
        trained_types: Number of task types with a learned part.
        size: Width of type embeddings, contexts and worker embeddings.
        heads: Attention heads of the evidence.
        lstm_size: Width of the LSTM.
        subtask_size: Width of a sub-task embedding.
        node_size: Width of a node embedding.
        max_subtasks: The most sub-tasks.
        gnn: Layer type of the graph generator.
        dropout: Share of activations dropped in training.
        members: Networks in the ensemble.
    """

    hidden_size: int
    trained_types: int
    size: int = 128
    heads: int = 4
    lstm_size: int = 256
    subtask_size: int = 512
    node_size: int = 128
    max_subtasks: int = MAX_SUBTASKS
    gnn: Literal["gcn", "gat", "sage"] = "gat"
    dropout: float = 0.1
    members: int = 1


class PlannerNetwork(nn.Module):
    """The learned planner's trainable part.

    Args:
        config: Sizes.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.evidence = TypeEvidence(
            config.hidden_size, config.size, config.heads, config.trained_types, config.dropout
        )
        self.decomposer = TaskDecomposer(
            hidden_size=config.hidden_size,
            size=config.size,
            lstm_size=config.lstm_size,
            subtask_size=config.subtask_size,
            trained=config.trained_types,
            max_subtasks=config.max_subtasks,
            dropout=config.dropout,
        )
        self.graph = WorkflowGraphGenerator(
            subtask_size=config.subtask_size,
            node_size=config.node_size,
            kind=config.gnn,
            max_subtasks=config.max_subtasks,
            dropout=config.dropout,
        )
        self.selector = RLModelSelector(
            hidden_size=config.hidden_size,
            node_size=config.node_size,
            size=config.size,
            dropout=config.dropout,
        )

    def tables(self, types: DescribedTypes) -> TypeTables:
        """What the networks make of a catalog alone."""
        names = self.decomposer.names(types)
        return TypeTables(*self.evidence.tables(types), names, types.links, new=types.rows == self.config.trained_types)

    def look(self, encoded: EncodedInstructions, tables: TypeTables, hints: Tensor) -> tuple[Evidence, Memory]:
        """Everything before the first step: evidence, and the decomposer's memory.

        Args:
            encoded: B instructions.
            tables: From `tables`.
            hints: [B, K, FEATURES], or one more where the catalog has new types: what `judge_by_text` reads.
        """
        evidence = self.evidence(encoded, tables[:3], hints[..., :FEATURES])
        if hints.shape[-1] > FEATURES:
            presence = judge_by_text(evidence.presence, hints[..., FEATURES], tables.new)
            evidence = evidence._replace(presence=presence)
        return evidence, self.decomposer.remember(encoded, tables.names, tables.links, evidence)

    def forward(
        self,
        encoded: EncodedInstructions,
        types: DescribedTypes,
        workers: DescribedWorkers,
        hints: Tensor,
        chosen: Tensor,
        mask: Tensor,
    ) -> tuple[PlannerOutputs, Tensor]:
        """Run all parts along given types.

        Args:
            encoded: B instructions.
            types: The task catalog.
            workers: The worker catalog.
            hints: [B, K, features], as `look` takes them.
            chosen: [B, S] type of each sub-task; 0 where padded.
            mask: [B, S] true where there is a sub-task.

        Returns:
            The outputs, and the stop logits [B, S].
        """
        evidence, memory = self.look(encoded, self.tables(types), hints)
        decomposition, stops = self.decomposer(memory, chosen)
        graph = self.graph(decomposition.subtask_embeddings, decomposition.dependencies, mask)
        selection = self.select(encoded.embeddings, graph, workers, chosen)
        return PlannerOutputs(evidence, decomposition, graph, selection), stops

    def select(self, embeddings: Tensor, graph: GeneratedGraph, workers: DescribedWorkers, chosen: Tensor) -> Selection:
        """Score the workers for every sub-task: states [B * S, H + node]."""
        states = self.states(embeddings, graph)
        return self.selector(states, workers, workers.able.T[chosen.flatten()])

    def states(self, embeddings: Tensor, graph: GeneratedGraph) -> Tensor:
        """concat(instruction, node) for every sub-task: [B * S, H + node]."""
        nodes = graph.node_embeddings  # (B, S, node)
        wide = embeddings[:, None, :].expand(-1, nodes.shape[1], -1)
        return torch.cat([wide, nodes], dim=-1).flatten(0, 1)


class PlannerEnsemble(nn.Module):
    """Networks that differ by initialisation, order of the rows and dropout only.

    On a few hundred examples the seed decides more than any hyper-parameter; several seeds together
    decide less (Lakshminarayanan et al., arXiv:1612.01474).

    Args:
        config: Sizes, and the number of members.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(PlannerNetwork(config) for _ in range(config.members))

    @property
    def leader(self) -> PlannerNetwork:
        """The first member: its embeddings are shown, its policy is what reinforcement learning goes on with."""
        leader = self.members[0]
        assert isinstance(leader, PlannerNetwork)
        return leader

    def networks(self) -> list[PlannerNetwork]:
        """All members."""
        return [member for member in self.members if isinstance(member, PlannerNetwork)]


def describe_types(tasks: TaskCatalog, encoder: TextEncoder, trained: TaskCatalog | None = None) -> DescribedTypes:
    """Embed a catalog; types with the same name and description as a trained one get its learned part."""
    trained = trained or tasks
    rows = {(kind.name, kind.description): row for row, kind in enumerate(trained.types)}
    texts = [f"{kind.name.replace('_', ' ')}: {kind.description}" for kind in tasks.types]
    place = {name: index for index, name in enumerate(tasks.names)}
    links = torch.zeros(len(tasks), len(tasks))
    for source, target in tasks.links:
        links[place[source], place[target]] = 1.0
    return DescribedTypes(
        descriptions=torch.from_numpy(encoder.encode(texts)),
        rows=torch.tensor([rows.get((kind.name, kind.description), len(trained)) for kind in tasks.types]),
        links=links,
    )


def describe_workers(workers: WorkerCatalog, tasks: TaskCatalog, encoder: TextEncoder) -> DescribedWorkers:
    """Embed a worker catalog."""
    texts = [f"{worker.name}: {worker.description}" for worker in workers.profiles()]
    return DescribedWorkers(
        descriptions=torch.from_numpy(encoder.encode(texts)),
        facts=worker_facts(workers),
        able=able_workers(workers, tasks),
    )


def transition_prior(sequences: list[tuple[int, ...]], kinds: int) -> Tensor:
    """Smoothed log-prior [K + 1, K] of the next type, relative to uniform; the last row is for the start."""
    pairs = np.zeros((kinds + 1, kinds))
    for sequence in sequences:
        for previous, kind in zip((kinds, *sequence), sequence, strict=False):
            pairs[previous, kind] += 1
    unigram = (pairs.sum(axis=0) + 0.5) / (pairs.sum() + 0.5 * kinds)
    prior = (pairs + 2 * unigram) / (pairs.sum(axis=1, keepdims=True) + 2)
    return torch.tensor(np.clip(np.log(prior * kinds), -6, 6), dtype=torch.float32)


def map_transitions(prior: Tensor, rows: Tensor) -> Tensor:
    """The prior for another catalog; a type that was never trained is as likely as chance after each of the others.

    A row's mean would be one of logarithms, mostly of pairs that never occurred: a verdict against new types.
    """
    padded = torch.cat([prior, prior.new_zeros(len(prior), 1)], dim=1)  # (K0 + 1, K0 + 1)
    unseen = padded.mean(dim=0, keepdim=True)
    table = torch.cat([padded[:-1], unseen, padded[-1:]])  # K0 trained rows, unseen, start
    start = torch.tensor([len(table) - 1], device=rows.device)
    return table[torch.cat([rows, start])][:, rows]
