"""Which node of one plan is which node of another, when only the types are known."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

Edges = Sequence[tuple[int, int]]

_TRIED = 5040


def align(gold_types: Sequence[str], gold_edges: Edges, types: Sequence[str], edges: Edges) -> dict[int, int]:
    """Map nodes of a plan one to one to gold nodes of the same type so that the most edges agree.

    Exact while the repeated types leave at most 5,040 ways to do it; beyond that, nodes are paired in order
    of occurrence and pairs are exchanged while that helps.

    Returns:
        Node to gold node, for the nodes that have a partner.
    """
    options = []
    for name in dict.fromkeys(types):
        mine = [node for node, kind in enumerate(types) if kind == name]
        theirs = [node for node, kind in enumerate(gold_types) if kind == name]
        if theirs:
            options.append((mine, theirs))
    ways = math.prod(math.perm(max(len(m), len(t)), min(len(m), len(t))) for m, t in options)
    wanted = frozenset(gold_edges)
    if ways <= _TRIED:
        candidates = itertools.product(*(_pairings(mine, theirs) for mine, theirs in options))
        return max(
            ({node: gold for part in parts for node, gold in part} for parts in candidates),
            key=lambda partner: _agreement(partner, edges, wanted),
        )
    partner = {node: gold for mine, theirs in options for node, gold in zip(mine, theirs, strict=False)}
    return _exchange(partner, options, edges, wanted)


def same_graph(types_a: Sequence[str], edges_a: Edges, types_b: Sequence[str], edges_b: Edges) -> bool:
    """Say whether some renumbering keeps all types and maps the edges of one exactly onto the other's."""
    if Counter(types_a) != Counter(types_b) or len(set(edges_a)) != len(set(edges_b)):
        return False
    colours_a, colours_b = _colours(types_a, edges_a), _colours(types_b, edges_b)
    if Counter(colours_a) != Counter(colours_b):
        return False
    links_a, links_b = set(edges_a), set(edges_b)
    # The rarest colours first: they leave the fewest ways to go wrong.
    rarity = Counter(colours_a)
    order = sorted(range(len(types_a)), key=lambda node: (rarity[colours_a[node]], node))

    def extend(done: dict[int, int]) -> bool:
        if len(done) == len(order):
            return True
        node = order[len(done)]
        for other in range(len(types_b)):
            if other in done.values() or colours_b[other] != colours_a[node]:
                continue
            if all(
                ((node, a) in links_a) == ((other, b) in links_b) and ((a, node) in links_a) == ((b, other) in links_b)
                for a, b in done.items()
            ) and extend({**done, node: other}):
                return True
        return False

    return extend({})


def _colours(types: Sequence[str], edges: Edges) -> list[str]:
    """Refine the types by those of parents and children until nothing changes (Weisfeiler-Leman)."""
    names = {name: f"{rank}" for rank, name in enumerate(sorted(set(types)))}
    colours = [f"{names[name]}:{name}" for name in types]
    for _ in range(len(types)):
        signatures = [
            (
                colours[node],
                tuple(sorted(colours[p] for p, c in edges if c == node)),
                tuple(sorted(colours[c] for p, c in edges if p == node)),
            )
            for node in range(len(types))
        ]
        colours = [_digest(signature) for signature in signatures]
    return colours


def _digest(signature: tuple[object, ...]) -> str:
    # Colours of two graphs are compared, so they must not depend on a numbering within one of them.
    return hashlib.blake2b(repr(signature).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _pairings(mine: list[int], theirs: list[int]) -> list[list[tuple[int, int]]]:
    if len(mine) <= len(theirs):
        return [list(zip(mine, some, strict=True)) for some in itertools.permutations(theirs, len(mine))]
    return [list(zip(some, theirs, strict=True)) for some in itertools.permutations(mine, len(theirs))]


def _agreement(partner: Mapping[int, int], edges: Edges, wanted: frozenset[tuple[int, int]]) -> int:
    return sum((partner.get(p, -1), partner.get(c, -1)) in wanted for p, c in edges)


def _exchange(
    partner: dict[int, int],
    options: list[tuple[list[int], list[int]]],
    edges: Edges,
    wanted: frozenset[tuple[int, int]],
) -> dict[int, int]:
    best = _agreement(partner, edges, wanted)
    improved = True
    while improved:
        improved = False
        for mine, _ in options:
            for a, b in itertools.combinations(mine, 2):
                other = {node: gold for node, gold in partner.items() if node not in (a, b)}
                other.update({x: partner[y] for x, y in ((a, b), (b, a)) if y in partner})
                score = _agreement(other, edges, wanted)
                if score > best:
                    partner, best, improved = other, score, True
    return partner
