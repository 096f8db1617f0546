"""From edge probabilities to one DAG: acyclic by construction, chosen for the F1 that is to be expected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.planner.structure_prior import Edges, Floats, GraphPrior

Bools = npt.NDArray[np.bool_]

SAMPLES = 200
"""Graphs that are drawn from the edge probabilities and vote."""

_VOTERS = 400


def decode_structure(probs: Floats, prior: GraphPrior | None = None) -> Edges:
    """Return the DAG of highest expected edge F1.

    Minimum Bayes risk (Kumar & Byrne 2004 eq. 2) over candidates: the greedy graph, graphs drawn from the
    probabilities, and the graphs that plans of this size had in training. A candidate's weight is its
    likelihood times its prior. Every candidate is built by adding edges that close no cycle, and holds no
    edge that a longer path implies.

    Args:
        probs: [n, n] probability that the row is a parent of the column; the diagonal is not read.
        prior: What graphs of training plans look like.
    """
    size = len(probs)
    if size < 2:
        return ()
    sure = np.clip(probs, 1e-4, 1 - 1e-4)
    gains = np.log(sure) - np.log1p(-sure)  # (n, n) log-odds
    # Equal plans get equal graphs: the draws depend on nothing but the size.
    draws = np.random.default_rng(size).logistic(size=(SAMPLES, size, size))
    found = {greedy_structure(probs)}
    found.update(_grown(gains + noise) for noise in draws)
    candidates = sorted(found if prior is None else found | prior.known(size).keys())
    scores = np.array([sum(gains[p, c] for p, c in edges) for edges in candidates])
    if prior is not None:
        scores = prior.weights.evidence * scores + prior(size, candidates)
    weights = np.exp(scores - scores.max())
    kept = np.argsort(-weights, kind="stable")[:_VOTERS]
    table = np.zeros((len(kept), size * size))  # (candidates, pairs)
    for row, place in enumerate(kept):
        table[row, [p * size + c for p, c in candidates[place]]] = 1
    sizes = table.sum(axis=1)
    agreement = 2 * (table @ table.T) / np.maximum(1, sizes[:, None] + sizes[None, :])
    return candidates[kept[int(np.argmax(agreement @ weights[kept]))]]


def greedy_structure(probs: Floats) -> Edges:
    """Add the likeliest edge that closes no cycle as long as the expected F1 grows (Lewis 1995, for sets)."""
    size = len(probs)
    ranked = sorted(((float(probs[p, c]), p, c) for p in range(size) for c in range(size) if p != c), reverse=True)
    mass = sum(prob for prob, _, _ in ranked)
    graph = _Growing(size)
    gained = best = 0.0
    for prob, parent, child in ranked:
        if not graph.fits(parent, child):
            continue
        expected = 2 * (gained + prob) / (len(graph.edges) + 1 + mass)
        if expected < best:
            break
        best, gained = expected, gained + prob
        graph.add(parent, child)
    return reduced(size, graph.edges)


def reduced(size: int, edges: Sequence[tuple[int, int]]) -> Edges:
    """Leave out the edges of a DAG that a longer path implies; sorted."""
    direct = np.zeros((size, size), dtype=np.bool_)
    for parent, child in edges:
        direct[parent, child] = True
    reach = closure(direct)
    return tuple(sorted((p, c) for p, c in edges if not (direct[p] & reach[:, c]).any()))


def closure(direct: Bools) -> Bools:
    """Who comes before whom, directly or not: [n, n] from [n, n]."""
    reach = direct.copy()
    for middle in range(len(reach)):
        reach |= np.outer(reach[:, middle], reach[middle])
    return reach


class _Growing:
    """A DAG that edges are added to."""

    def __init__(self, size: int) -> None:
        self.edges: list[tuple[int, int]] = []
        self._reach: Bools = np.eye(size, dtype=np.bool_)

    def fits(self, parent: int, child: int) -> bool:
        """Whether the edge closes no cycle and says something new."""
        return not (self._reach[child, parent] or self._reach[parent, child])

    def add(self, parent: int, child: int) -> None:
        self.edges.append((parent, child))
        self._reach |= np.outer(self._reach[:, parent], self._reach[child])


def _grown(gains: Floats) -> Edges:
    """Add the pairs of positive gain, best first, that close no cycle."""
    size = len(gains)
    graph = _Growing(size)
    places = [(int(p), int(c)) for p, c in zip(*np.nonzero(gains > 0), strict=True) if p != c]
    for parent, child in sorted(places, key=lambda place: -gains[place]):
        if graph.fits(parent, child):
            graph.add(parent, child)
    return reduced(size, graph.edges)
