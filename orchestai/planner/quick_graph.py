"""The edges of a few candidate sequences of one instruction; the same as `WorkflowGraphGenerator` says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from orchestai.planner.decoding import Candidate
from orchestai.planner.model import PlannerNetwork
from orchestai.planner.quick_math import Array, gelu, layer_norm, product, sigmoid, softmax

Bools = npt.NDArray[np.bool_]


class QuickGraph:
    """Edge probabilities [candidate][parent][child]; pairs that would run backward are left at zero.

    Args:
        network: In evaluation mode; its weights must not change afterwards.
    """

    def __init__(self, network: PlannerNetwork) -> None:
        self._network = network
        graph, decomposer = network.graph, network.decomposer
        if graph.kind != "gat":  # the others stay with torch
            return
        first = (graph.inward, decomposer.child, decomposer.parent)
        second = (graph.parent, graph.child)
        with torch.inference_mode():
            self._first = torch.cat([part.weight for part in first]).T.contiguous()
            self._first_bias = torch.cat([part.bias for part in first]).numpy()
            self._second = torch.cat([part.weight for part in second]).T.contiguous()
            self._second_bias = torch.cat([part.bias for part in second]).numpy()
            self._product = graph.product.weight.T.contiguous()
            self._distance = graph.distance.weight.detach().numpy()
            self._dependency = graph.dependency.weight.detach().numpy().T.copy()  # (2, node)
            self._edge = (graph.edge.weight.detach().numpy()[0], float(graph.edge.bias))
            self._layers = [_Attention(layer, norm) for layer, norm in zip(graph.layers, graph.norms, strict=True)]
        self._node = graph.inward.out_features
        self._width = decomposer.child.out_features

    def __call__(self, candidates: Sequence[Candidate]) -> list[list[list[float]]]:
        """Edge probabilities of each candidate, whose embeddings are still with it."""
        length = max(len(candidate.types) for candidate in candidates)
        width = self._network.config.subtask_size
        subtasks = np.zeros((len(candidates), length, width), dtype=np.float32)  # (C, S, P)
        mask = np.zeros((len(candidates), length), dtype=np.bool_)
        for row, candidate in enumerate(candidates):
            assert candidate.subtasks is not None
            subtasks[row, : len(candidate.types)] = candidate.subtasks.numpy()
            mask[row, : len(candidate.types)] = True
        if self._network.graph.kind != "gat":
            return _by_torch(self._network, torch.from_numpy(subtasks), torch.from_numpy(mask))
        found: list[list[list[float]]] = self._probabilities(subtasks, mask).tolist()
        return found

    def _probabilities(self, subtasks: Array, mask: Bools) -> Array:
        count, size, width = subtasks.shape
        mapped = product(subtasks.reshape(-1, width), self._first) + self._first_bias
        entry = mapped[:, : self._node].reshape(count, size, -1)  # (C, S, node)
        child, parent = (
            mapped[:, at : at + self._width].reshape(count, size, -1) for at in (self._node, self._node + self._width)
        )
        likely = sigmoid(parent @ child.transpose(0, 2, 1) / np.float32(self._width**0.5))  # (C, S, S) [parent][child]
        likely *= np.triu(np.ones((size, size), dtype=np.float32), 1)
        pairs = mask[:, :, None] & mask[:, None, :] & ~np.eye(size, dtype=np.bool_)
        both = likely + likely.transpose(0, 2, 1)
        nodes = entry
        for layer in self._layers:
            nodes = nodes + gelu(layer(nodes, both, pairs))
        joined = np.concatenate([nodes, entry], axis=-1).reshape(count * size, -1)
        ends = (product(joined, self._second) + self._second_bias).reshape(count, size, 2, self._node)
        source, target = np.triu_indices(size, 1)  # forward pairs only: the others are never edges
        together = (nodes[:, source] * nodes[:, target]).reshape(-1, self._node)  # (C * pairs, node)
        clipped = np.clip(likely[:, source, target], 1e-4, 1 - 1e-4)
        odds = np.log(clipped / (1 - clipped)) / 4
        said = np.stack([odds, likely[:, source, target]], axis=-1) @ self._dependency  # (C, pairs, node)
        inner = (
            ends[:, source, 0]
            + ends[:, target, 1]
            + product(together, self._product).reshape(count, len(source), self._node)
            + self._distance[target - source + self._network.graph.max_subtasks]
            + said
        )
        out = np.zeros((count, size, size), dtype=np.float32)
        out[:, source, target] = sigmoid(gelu(inner) @ self._edge[0] + self._edge[1])
        return np.asarray(out * pairs)


class _Attention:
    """`dense_gat` with the norm before it."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        assert isinstance(norm, nn.LayerNorm)
        parts = {name: part.detach() for name, part in layer.named_parameters()}
        self._norm = (norm.weight.detach().numpy(), norm.bias.detach().numpy(), norm.eps)
        self._map = parts["lin.weight"].T.contiguous()
        self._ends = torch.stack([parts["att_src"][0, 0], parts["att_dst"][0, 0]]).T.contiguous().numpy()  # (node, 2)
        self._edge = float((parts["lin_edge.weight"][:, 0] * parts["att_edge"][0, 0]).sum())
        self._bias = parts["bias"].numpy()

    def __call__(self, nodes: Array, weight: Array, pairs: Bools) -> Array:
        _, size, width = nodes.shape
        mapped = product(layer_norm(nodes, *self._norm).reshape(-1, width), self._map).reshape(nodes.shape)
        ends = mapped @ self._ends  # (C, S, 2)
        known = np.where(pairs, weight, 0.0).astype(np.float32)
        own = known.sum(axis=-1) / np.maximum(pairs.sum(axis=-1), 1)  # every node hears itself as well
        known[:, np.arange(size), np.arange(size)] += own
        logits = ends[:, :, None, 1] + ends[:, None, :, 0] + self._edge * known
        logits = np.where(logits > 0, logits, np.float32(0.2) * logits)
        heard = pairs | np.eye(size, dtype=np.bool_)
        shares = softmax(np.where(heard, logits, np.float32(-1e9)))  # (C, S, S) [target][source]
        return np.asarray(shares @ mapped + self._bias)


def _by_torch(network: PlannerNetwork, subtasks: torch.Tensor, mask: torch.Tensor) -> list[list[list[float]]]:
    found = network.graph(subtasks, network.decomposer.dependency_probs(subtasks), mask)
    edges: list[list[list[float]]] = found.edge_probs.tolist()
    return edges
