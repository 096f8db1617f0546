"""How much two plans agree; numbering of nodes does not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class PlanShape(NamedTuple):
    """Types and parents of a plan; types are anything that can be hashed."""

    types: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]


def node_f1(a: PlanShape, b: PlanShape) -> float:
    """F1 between the multisets of types."""
    return _f1(Counter(a.types), Counter(b.types))


def link_f1(a: PlanShape, b: PlanShape) -> float:
    """F1 between the multisets of (parent type, child type); two plans without links agree."""
    return _f1(_links(a), _links(b))


def same(a: PlanShape, b: PlanShape) -> bool:
    """Whether the plans are equal up to the numbering of nodes.

    Compared by colour refinement over parents and children, which tells all but contrived graphs apart.
    """
    if a == b:
        return True
    return sorted(a.types) == sorted(b.types) and _links(a) == _links(b) and _colours(a) == _colours(b)


def agreement(a: PlanShape, b: PlanShape) -> float:
    """Mean of node F1, link F1 and equality: what decoding maximises in expectation."""
    if a == b:
        return 1.0
    nodes, links = node_f1(a, b), link_f1(a, b)
    equal = nodes == links == 1.0 and _colours(a) == _colours(b)
    return (nodes + links + float(equal)) / 3


def _links(plan: PlanShape) -> Counter[tuple[int, int]]:
    return Counter((plan.types[p], plan.types[c]) for c, ps in enumerate(plan.parents) for p in ps)


def _f1(a: Counter, b: Counter) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


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
