"""The edges of a few candidate sequences of one instruction; the same as `WorkflowGraphGenerator` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import nn

from orchestai.planner.model import PlannerNetwork
from orchestai.planner.quick_math import Array, gelu, layer_norm, product, softmax

Bools = npt.NDArray[np.bool_]

_ZERO, _LEAST, _SLOPE, _BARRED = np.float32(0), np.float32(1e-4), np.float32(0.2), np.float32(-1e9)


class _Fixed(NamedTuple):
    earlier: Array  # (S, S) 1 above the diagonal
    own: Bools  # (S, S) the diagonal
    others: Bools  # (S, S) the rest
    source: npt.NDArray[np.intp]  # (pairs,)
    target: npt.NDArray[np.intp]  # (pairs,)
    distance: Array  # (pairs, node)


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
            told = graph.dependency.weight.T / torch.tensor([[4.0], [1.0]])  # (2, node) for: log-odds, probability
            self._together = torch.cat([graph.product.weight.T, told]).contiguous()
            self._distance = graph.distance.weight.detach().numpy()
            self._edge = (graph.edge.weight.detach().numpy()[0], np.float32(graph.edge.bias.detach()))
            self._layers = [_Attention(layer, norm) for layer, norm in zip(graph.layers, graph.norms, strict=True)]
        self._node = graph.inward.out_features
        self._width = decomposer.child.out_features
        self._by_size: dict[int, _Fixed] = {}

    def __call__(self, embedded: Sequence[Array]) -> list[list[list[float]]]:
        """Edge probabilities of each candidate, from the embeddings [S, P] of its sub-tasks."""
        length = max(map(len, embedded))
        subtasks = np.zeros((len(embedded), length, embedded[0].shape[1]), dtype=np.float32)  # (C, S, P)
        mask = np.zeros((len(embedded), length), dtype=np.bool_)
        for row, rows in enumerate(embedded):
            subtasks[row, : len(rows)] = rows
            mask[row, : len(rows)] = True
        if self._network.graph.kind != "gat":
            return _by_torch(self._network, torch.from_numpy(subtasks), torch.from_numpy(mask))
        found: list[list[list[float]]] = self._probabilities(subtasks, mask).tolist()
        return found

    def _probabilities(self, subtasks: Array, mask: Bools) -> Array:
        count, size, width = subtasks.shape
        fixed = self._fixed(size)
        mapped = product(subtasks.reshape(-1, width), self._first)
        mapped += self._first_bias
        mapped = mapped.reshape(count, size, -1)
        entry = mapped[..., : self._node]  # (C, S, node)
        child, parent = mapped[..., self._node : self._node + self._width], mapped[..., self._node + self._width :]
        odds = parent @ child.transpose(0, 2, 1)  # (C, S, S) [parent][child]
        odds /= np.float32(self._width**0.5)
        likely = expit(odds)
        likely *= fixed.earlier
        pairs = mask[:, :, None] & mask[:, None, :] & fixed.others
        known, barred = _heard(likely + likely.transpose(0, 2, 1), pairs, fixed)
        nodes = entry
        for layer in self._layers:
            nodes = nodes + gelu(layer(nodes, known, barred))
        joined = np.concatenate([nodes, entry], axis=-1).reshape(count * size, -1)
        ends = product(joined, self._second)
        ends += self._second_bias
        ends = ends.reshape(count, size, 2, self._node)
        source, target = fixed.source, fixed.target  # forward pairs only: the others are never edges
        chance = likely[:, source, target]
        clipped = np.minimum(np.maximum(chance, _LEAST), 1 - _LEAST)
        together = np.empty((count, len(source), self._node + 2), dtype=np.float32)
        np.multiply(nodes[:, source], nodes[:, target], out=together[..., :-2])
        np.log(clipped / (1 - clipped), out=together[..., -2])
        together[..., -1] = chance
        inner = product(together.reshape(-1, self._node + 2), self._together).reshape(count, len(source), self._node)
        inner += ends[:, source, 0]
        inner += ends[:, target, 1]
        inner += fixed.distance
        out = np.zeros((count, size, size), dtype=np.float32)
        out[:, source, target] = expit(gelu(inner) @ self._edge[0] + self._edge[1])
        out *= pairs
        return out

    def _fixed(self, size: int) -> _Fixed:
        """What the number of nodes alone decides; made once."""
        found = self._by_size.get(size)
        if found is None:
            source, target = np.triu_indices(size, 1)
            found = self._by_size[size] = _Fixed(
                earlier=np.triu(np.ones((size, size), dtype=np.float32), 1),
                own=np.eye(size, dtype=np.bool_),
                others=~np.eye(size, dtype=np.bool_),
                source=source,
                target=target,
                distance=self._distance[target - source + self._network.graph.max_subtasks],
            )
        return found


class _Attention:
    """`dense_gat` with the norm before it."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        assert isinstance(norm, nn.LayerNorm)
        parts = {name: part.detach() for name, part in layer.named_parameters()}
        self._norm = (norm.weight.detach(), norm.bias.detach(), norm.eps)
        mapped = parts["lin.weight"].T  # (node, node)
        ends = torch.stack([parts["att_src"][0, 0], parts["att_dst"][0, 0]]).T  # (node, 2)
        self._map = torch.cat([mapped, mapped @ ends], dim=1).contiguous()
        self._edge = np.float32((parts["lin_edge.weight"][:, 0] * parts["att_edge"][0, 0]).sum())
        self._bias = parts["bias"].numpy()

    def __call__(self, nodes: Array, known: Array, barred: Array) -> Array:
        count, size, width = nodes.shape
        mapped = product(layer_norm(nodes, *self._norm).reshape(-1, width), self._map).reshape(count, size, -1)
        logits = self._edge * known
        logits += mapped[:, :, None, -1]
        logits += mapped[:, None, :, -2]
        logits = np.maximum(logits, _SLOPE * logits)
        logits += barred
        heard = softmax(logits) @ mapped[..., :-2]  # (C, S, node), rows of the shares are targets
        heard += self._bias
        return np.asarray(heard)


def _heard(both: Array, pairs: Bools, fixed: _Fixed) -> tuple[Array, Array]:
    """Weights of the messages [C, S, S], and what bars those that there are not; every node hears itself as well."""
    known = both * pairs
    count = np.maximum(np.add.reduce(pairs, axis=-1, dtype=np.float32), 1)
    size = known.shape[-1]
    known.reshape(len(known), -1)[:, :: size + 1] = np.add.reduce(known, axis=-1) / count  # no pair is on the diagonal
    return known, np.where(pairs | fixed.own, _ZERO, _BARRED)


def _by_torch(network: PlannerNetwork, subtasks: torch.Tensor, mask: torch.Tensor) -> list[list[list[float]]]:
    found = network.graph(subtasks, network.decomposer.dependency_probs(subtasks), mask)
    edges: list[list[list[float]]] = found.edge_probs.tolist()
    return edges
