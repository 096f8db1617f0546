"""How much two plans agree; numbering of nodes does not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple


class PlanShape(NamedTuple):
    """Types and parents of a plan; types are anything that can be hashed."""

    types: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]


class Compared:
    """A plan, made ready to be compared with several others.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: PlanShape) -> None:
        self.plan = plan
        self.nodes = _numbered(plan.types)
        self.links = _numbered((plan.types[p], plan.types[c]) for c, ps in enumerate(plan.parents) for p in ps)

    @cached_property
    def colours(self) -> Counter[int]:
        """Colours of the nodes after refinement over parents and children."""
        return _colours(self.plan)


def node_f1(a: PlanShape, b: PlanShape) -> float:
    """F1 between the multisets of types."""
    return _f1(_numbered(a.types), _numbered(b.types))


def link_f1(a: PlanShape, b: PlanShape) -> float:
    """F1 between the multisets of (parent type, child type); two plans without links agree."""
    return _f1(Compared(a).links, Compared(b).links)


def same(a: PlanShape, b: PlanShape) -> bool:
    """Whether the plans are equal up to the numbering of nodes.

    Compared by colour refinement over parents and children, which tells all but contrived graphs apart.
    """
    return a == b or _same(Compared(a), Compared(b))


def agreement(a: PlanShape, b: PlanShape) -> float:
    """Mean of node F1, link F1 and equality: what decoding maximises in expectation."""
    return compare(Compared(a), Compared(b))


def compare(a: Compared, b: Compared) -> float:
    """`agreement` of plans that are ready."""
    if a.plan == b.plan:
        return 1.0
    return (_f1(a.nodes, b.nodes) + _f1(a.links, b.links) + float(_same(a, b))) / 3


def _same(a: Compared, b: Compared) -> bool:
    return a.nodes == b.nodes and a.links == b.links and a.colours == b.colours


def _numbered(things: Iterable[Hashable]) -> frozenset[tuple[Hashable, int]]:
    """A multiset as a set, which intersects several times as fast: equal things are told apart by their number."""
    seen: dict[Hashable, int] = {}
    numbered = []
    for thing in things:
        number = seen[thing] = seen.get(thing, 0) + 1
        numbered.append((thing, number))
    return frozenset(numbered)


def _f1(a: frozenset[tuple[Hashable, int]], b: frozenset[tuple[Hashable, int]]) -> float:
    total = len(a) + len(b)
    return 2 * len(a & b) / total if total else 1.0


def _colours(plan: PlanShape) -> Counter[int]:
    children: list[list[int]] = [[] for _ in plan.types]
    for child, parents in enumerate(plan.parents):
        for parent in parents:
            children[parent].append(child)
    colours: Sequence[int] = [hash((kind,)) for kind in plan.types]
    for _ in range(min(len(plan.types), 4)):
        colours = [
            hash(
                (
                    colours[node],
                    tuple(sorted(colours[p] for p in plan.parents[node])),
                    tuple(sorted(colours[c] for c in children[node])),
                )
            )
            for node in range(len(plan.types))
        ]
    return Counter(colours)
