"""WorkflowGraphGenerator: a graph network over the sub-tasks; its head is authoritative for edges."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestai.planner.dropout import Dropout
from orchestai.planner.shapes import GeneratedGraph

if TYPE_CHECKING:
    import networkx as nx

GnnKind = Literal["gcn", "gat", "sage"]


class WorkflowGraphGenerator(nn.Module):
    """Two layers of GCN (arXiv:1609.02907), GAT (arXiv:1710.10903) or GraphSAGE (arXiv:1706.02216).

    Messages run both ways along every pair of sub-tasks, weighted by the decomposer's dependency
    probabilities. Edge probabilities are raw: all ordered pairs are scored, backward ones included, so
    that the acyclicity loss has something to say. The binary adjacency keeps forward pairs only and is
    acyclic by construction.

    Args:
        subtask_size: Width of a sub-task embedding.
        node_size: Width of a node embedding.
        kind: Layer type.
        max_subtasks: The most sub-tasks.
        dropout: Share of activations dropped.
    """

    def __init__(self, *, subtask_size: int, node_size: int, kind: GnnKind, max_subtasks: int, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        self.max_subtasks = max_subtasks
        self.inward = nn.Linear(subtask_size, node_size)
        self.layers = nn.ModuleList(_layer(kind, node_size) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(node_size) for _ in range(2))
        self.parent = nn.Linear(2 * node_size, node_size)
        self.child = nn.Linear(2 * node_size, node_size)
        self.product = nn.Linear(node_size, node_size, bias=False)
        self.distance = nn.Embedding(2 * max_subtasks + 1, node_size)
        self.dependency = nn.Linear(2, node_size, bias=False)
        self.edge = nn.Linear(node_size, 1)
        self.threshold = 0.5
        self.dropout = Dropout(dropout)

    def forward(
        self,
        subtask_embeddings: Tensor,
        dependencies: Tensor,
        mask: Tensor | None = None,
        *,
        return_graph: bool = False,
    ) -> GeneratedGraph:
        """Return node embeddings, edge probabilities and the decoded DAG.

        Args:
            subtask_embeddings: [B, S, subtask size].
            dependencies: [B, S, max sub-tasks], row = child, column = parent.
            mask: [B, S] true where there is a sub-task; None means everywhere.
            return_graph: Whether to build NetworkX graphs as well.
        """
        batch, size = subtask_embeddings.shape[:2]
        if mask is None:
            mask = torch.ones(batch, size, dtype=torch.bool, device=subtask_embeddings.device)
        parents = dependencies[:, :, :size].transpose(1, 2)  # (B, S, S) [parent][child]
        entry = self.inward(subtask_embeddings)  # (B, S, node)
        pair_mask = mask[:, :, None] & mask[:, None, :] & ~torch.eye(size, dtype=torch.bool, device=mask.device)
        nodes = entry
        # The pairs that messages run along do not change from layer to layer.
        index, weight = (None, None) if self.kind == "gat" else _messages(parents, mask)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            if index is None or weight is None:
                passed = dense_gat(layer, norm(nodes), parents + parents.transpose(1, 2), pair_mask)
            else:
                passed = self._pass(layer, norm(nodes).reshape(batch * size, -1), index, weight)
            nodes = nodes + functional.gelu(passed.view(batch, size, -1))  # (B, S, node)
        edge_probs = self._edge_logits(nodes, entry, parents).sigmoid() * pair_mask
        adjacency = decode_adjacency(edge_probs, self.threshold)
        return GeneratedGraph(
            node_embeddings=nodes * mask[..., None],
            edge_probs=edge_probs,
            adjacency=adjacency,
            graphs=to_networkx(adjacency, mask) if return_graph else None,
        )

    def _pass(self, layer: nn.Module, nodes: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        if self.kind == "gcn":
            return layer(nodes, index, edge_weight=weight)
        # GraphSAGE takes no weights: it aggregates over the pairs that are more likely than not.
        return layer(nodes, index[:, weight > 0.5])

    def _edge_logits(self, nodes: Tensor, entry: Tensor, parents: Tensor) -> Tensor:
        size = nodes.shape[1]
        joined = self.dropout(torch.cat([nodes, entry], dim=-1))
        steps = torch.arange(size, device=nodes.device)
        distance = self.distance(steps[None, :] - steps[:, None] + self.max_subtasks)  # (S, S, node)
        likely = torch.logit(parents.clamp(1e-4, 1 - 1e-4)) / 4  # (B, S, S)
        pairs = (
            self.parent(joined)[:, :, None]
            + self.child(joined)[:, None, :]
            + self.product(nodes[:, :, None] * nodes[:, None, :])
            + distance
            + self.dependency(torch.stack([likely, parents], dim=-1))
        )  # (B, S, S, node)
        return self.edge(self.dropout(functional.gelu(pairs))).squeeze(-1)


def dense_gat(layer: nn.Module, nodes: Tensor, weight: Tensor, pairs: Tensor) -> Tensor:
    """What PyG's GATConv with one head makes of small complete graphs, as a few products of matrices.

    Lists of edges cost a plan of five nodes ten times what the arithmetic does.

    Args:
        layer: The GATConv.
        nodes: [B, S, node].
        weight: [B, S, S] attribute of the edge between two nodes.
        pairs: [B, S, S] true where there is an edge.
    """
    parts = dict(layer.named_parameters())
    mapped = nodes @ parts["lin.weight"].T  # (B, S, node)
    source = (mapped * parts["att_src"][0]).sum(dim=-1)  # (B, S)
    target = (mapped * parts["att_dst"][0]).sum(dim=-1)
    edge = (parts["lin_edge.weight"][:, 0] * parts["att_edge"][0, 0]).sum()
    # Every node hears itself as well, with the mean attribute of its edges.
    known = torch.where(pairs, weight, 0.0)
    own = known.sum(dim=-1) / pairs.sum(dim=-1).clamp(min=1)
    known = known + torch.diag_embed(own)
    logits = functional.leaky_relu(target[:, :, None] + source[:, None, :] + edge * known, 0.2)
    heard = pairs | torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
    shares = logits.masked_fill(~heard, -1e9).softmax(dim=-1)  # (B, S, S) [target][source]
    return shares @ mapped + parts["bias"]


def decode_adjacency(edge_probs: Tensor, threshold: float) -> Tensor:
    """Binary [.., S, S]: forward pairs above the threshold. Upper triangular, hence acyclic."""
    return (edge_probs > threshold).to(edge_probs.dtype).triu(1)


def to_networkx(adjacency: Tensor, mask: Tensor) -> list[nx.DiGraph[int]]:
    """One directed graph an instruction."""
    import networkx as nx

    graphs = []
    for matrix, real in zip(adjacency.tolist(), mask.tolist(), strict=True):
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(node for node, there in enumerate(real) if there)
        graph.add_edges_from(
            (parent, child) for parent, row in enumerate(matrix) for child, edge in enumerate(row) if edge
        )
        graphs.append(graph)
    return graphs


def _messages(parents: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs [2, E] in both directions and their weights [E]; nodes are numbered through the batch."""
    size = parents.shape[1]
    earlier = torch.ones(size, size, dtype=torch.bool, device=mask.device).triu(1)
    batch, parent, child = torch.nonzero(mask[:, :, None] & mask[:, None, :] & earlier, as_tuple=True)
    weight = parents[batch, parent, child]
    source, target = batch * size + parent, batch * size + child
    index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    return index, torch.cat([weight, weight])


def _layer(kind: GnnKind, size: int) -> nn.Module:
    with warnings.catch_warnings():
        # torch_geometric scripts functions at import, which torch now calls deprecated.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*torch.jit.*")
        from torch_geometric.nn import GATConv, GCNConv, SAGEConv

    if kind == "gcn":
        return GCNConv(size, size)
    if kind == "gat":
        return GATConv(size, size, heads=1, edge_dim=1)
    return SAGEConv(size, size)
