"""Tensor bundles. B instructions, T tokens, S sub-tasks, K types, W workers, H width of the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    import networkx as nx


class EncodedInstructions(NamedTuple):
    """What the frozen encoder makes of the texts."""

    embeddings: Tensor  # (B, H) pooled, L2-normalised
    states: Tensor  # (B, T, H)
    mask: Tensor  # (B, T) true where there is a token


class DescribedTypes(NamedTuple):
    """A task catalog as the network sees it."""

    descriptions: Tensor  # (K, H) embeddings of the descriptions
    rows: Tensor  # (K,) row of the learned part; the last row (zero) for types never trained
    links: Tensor  # (K, K) 1 where the catalog says that the second type can follow the first


class TypeTables(NamedTuple):
    """What a network makes of a catalog alone: computed once for all instructions."""

    queries: Tensor  # (K, D) what each type looks for
    outputs: Tensor  # (K, 2 * D) how what it found is read
    bias: Tensor  # (K, 2)
    names: Tensor  # (K, D) embeddings of the types as steps of a plan
    links: Tensor  # (K, K)
    new: Tensor  # (K,) true for types that were never trained


class DescribedWorkers(NamedTuple):
    """A worker catalog as the network sees it."""

    descriptions: Tensor  # (W, H)
    facts: Tensor  # (W, F) prices, speed, modalities
    able: Tensor  # (W, K) true where the worker answers the call that the type needs


class Evidence(NamedTuple):
    """What each described type finds in the instruction's tokens."""

    presence: Tensor  # (B, K, 2) logits of: occurs at all, occurs again
    contexts: Tensor  # (B, K, D)
    positions: Tensor  # (B, K) expected position of the attention, 0 to 1


class Decomposition(NamedTuple):
    """Output of the TaskDecomposer."""

    subtask_embeddings: Tensor  # (B, S, subtask size)
    task_types: Tensor  # (B, S, K) log-probabilities
    dependencies: Tensor  # (B, S, max sub-tasks) probability that column j is a parent of row s
    complexities: Tensor  # (B, S, 1)
    stop_probs: Tensor  # (B, S, 1) probability that this sub-task is the last one


class GeneratedGraph(NamedTuple):
    """Output of the WorkflowGraphGenerator."""

    node_embeddings: Tensor  # (B, S, node size)
    edge_probs: Tensor  # (B, S, S) [parent][child], raw: may hold cycles
    adjacency: Tensor  # (B, S, S) [parent][child], binary, acyclic
    graphs: list[nx.DiGraph[int]] | None


class Selection(NamedTuple):
    """Output of the RLModelSelector for N states."""

    action_logits: Tensor  # (N, W)
    action_probs: Tensor  # (N, W)
    value: Tensor  # (N, 1)


class SelectedAction(NamedTuple):
    """One worker a state."""

    action: Tensor  # (N,)
    log_prob: Tensor  # (N,)
    entropy: Tensor  # (N,)


class PlannerOutputs(NamedTuple):
    """All parts of one forward pass."""

    evidence: Evidence
    decomposition: Decomposition
    graph: GeneratedGraph
    selection: Selection  # N = B * S
