"""In which order a set of task types is usually done, and what then depends on what."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from orchestai.contracts import PlanExample

_PERMUTED = 6
Dependencies = tuple[tuple[int, ...], ...]


class OrderModel:
    """Bigrams of the training plans order a set; known structures, else known edges, connect it.

    Args:
        train: Plans to learn from.
    """

    def __init__(self, train: Sequence[PlanExample]) -> None:
        self._follows: Counter[tuple[str, str]] = Counter()
        self._leads: Counter[str] = Counter()
        self._structures: dict[tuple[str, ...], Counter[Dependencies]] = defaultdict(Counter)
        self._edges: Counter[tuple[str, str]] = Counter()
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._chains = 0
        for example in train:
            types = ("", *example.task_types, "")
            self._follows.update(itertools.pairwise(types))
            self._leads.update(types[:-1])
            self._structures[example.task_types][example.dependencies] += 1
            self._chains += example.dependencies == _chain(len(example.task_types))
            for parent, child in itertools.combinations(range(len(example.task_types)), 2):
                pair = (example.task_types[parent], example.task_types[child])
                self._pairs[pair] += 1
                self._edges[pair] += parent in example.dependencies[child]
        self._only_chains = self._chains == len(train)
        self._types = len({name for example in train for name in example.task_types}) + 1

    def arrange(self, types: Sequence[str]) -> tuple[tuple[str, ...], Dependencies, float]:
        """Return the types in their likeliest order, their dependencies, and the order's log-probability."""
        ordered = self._best_order(list(types))
        score = self._score(ordered)
        return ordered, self._connect(ordered), score

    def _best_order(self, types: list[str]) -> tuple[str, ...]:
        if len(types) <= _PERMUTED:
            return max(sorted(set(itertools.permutations(types))), key=self._score)
        left, ordered = sorted(types), [""]
        while left:
            following = max(left, key=lambda name: self._step(ordered[-1], name))
            left.remove(following)
            ordered.append(following)
        return tuple(ordered[1:])

    def _score(self, ordered: Sequence[str]) -> float:
        return sum(self._step(a, b) for a, b in itertools.pairwise(("", *ordered, "")))

    def _step(self, first: str, second: str) -> float:
        # Add-0.1 smoothing: with hundreds of types, one unseen pair must not rule an order out.
        return math.log((self._follows[first, second] + 0.1) / (self._leads[first] + 0.1 * self._types))

    def _connect(self, ordered: tuple[str, ...]) -> Dependencies:
        if self._only_chains:
            return _chain(len(ordered))
        known = self._structures.get(ordered)
        if known:
            return known.most_common(1)[0][0]
        return tuple(
            tuple(p for p in range(child) if self._is_edge(ordered[p], ordered[child])) for child in range(len(ordered))
        )

    def _is_edge(self, parent: str, child: str) -> bool:
        seen = self._pairs[parent, child]
        return seen > 0 and self._edges[parent, child] * 2 > seen


def _chain(size: int) -> Dependencies:
    return tuple((i - 1,) if i else () for i in range(size))
