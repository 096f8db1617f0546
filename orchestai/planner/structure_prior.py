"""How usual a graph is, by the graphs of the training plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestai.contracts.base import Record

Floats = npt.NDArray[np.float64]
Edges = tuple[tuple[int, int], ...]
Shapes = Mapping[int, Mapping[Edges, int]]

_UNSEEN_GRAPH = 0.1
_UNSEEN_COUNT = 0.3


class PriorWeights(Record):
    """Exponents in the posterior of a graph; chosen on plans that the networks were not trained on.

    The network judges each pair by itself. What only the whole graph shows, how many edges it has and whether it
    leaves steps out, is judged by what graphs of any size look like.

    Attributes:
        evidence: Of the likelihood by the edge probabilities.
        graph: Of the share of exactly this graph among training plans of as many steps.
        edges: Of the share of plans with as many edges more or less than steps.
        isolated: Of the share of plans with as many steps that no edge touches.
    """

    evidence: float = 1.3
    graph: float = 0.75
    edges: float = 0.25
    isolated: float = 0.3


class GraphPrior:
    """Log-prior of graphs.

    Args:
        shapes: By number of steps: training graphs and their counts.
        weights: Exponents.
    """

    def __init__(self, shapes: Shapes, weights: PriorWeights | None = None) -> None:
        self._shapes = shapes
        self.weights = weights or PriorWeights()
        self._edges: Counter[int] = Counter()
        self._isolated: Counter[int] = Counter()
        for size, found in shapes.items():
            for graph, count in found.items():
                self._edges[len(graph) - size] += count
                self._isolated[_isolated(size, graph)] += count

    def known(self, size: int) -> Mapping[Edges, int]:
        """Return the training graphs of `size` steps and their counts."""
        return self._shapes.get(size, {})

    def __call__(self, size: int, graphs: Sequence[Edges]) -> Floats:
        """Return the weighed log-prior of graphs over `size` steps, up to a constant: [len(graphs)]."""
        known, weights = self.known(size), self.weights
        total, plans = sum(known.values()) + 1, self._edges.total() + 1
        shares = np.array(
            [
                (
                    (known.get(graph, 0) + _UNSEEN_GRAPH) / total,
                    (self._edges[len(graph) - size] + _UNSEEN_COUNT) / plans,
                    (self._isolated[_isolated(size, graph)] + _UNSEEN_COUNT) / plans,
                )
                for graph in graphs
            ]
        )  # (graphs, 3)
        return np.asarray(np.log(shares) @ np.array([weights.graph, weights.edges, weights.isolated]))


def _isolated(size: int, graph: Edges) -> int:
    return size - len({step for edge in graph for step in edge})
