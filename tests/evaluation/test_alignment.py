from __future__ import annotations

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai.evaluation.alignment import align, same_graph

Graph = tuple[list[str], list[tuple[int, int]]]


@st.composite
def typed_dags(draw: st.DrawFn) -> Graph:
    types = draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=6))
    pairs = [(p, c) for c in range(len(types)) for p in range(c)]
    links = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return types, links


def _networkx(graph: Graph) -> nx.DiGraph[int]:
    found: nx.DiGraph[int] = nx.DiGraph()
    for index, name in enumerate(graph[0]):
        found.add_node(index, kind=name)
    found.add_edges_from(graph[1])
    return found


@settings(max_examples=300, deadline=None)
@given(typed_dags(), typed_dags())
def test_same_graph_agrees_with_networkx(a: Graph, b: Graph) -> None:
    expected = nx.is_isomorphic(_networkx(a), _networkx(b), node_match=lambda x, y: x["kind"] == y["kind"])
    assert same_graph(*a, *b) == expected


@settings(max_examples=200, deadline=None)
@given(typed_dags(), st.randoms(use_true_random=False))
def test_a_renumbered_graph_is_the_same_and_aligns_completely(graph: Graph, random: object) -> None:
    types, links = graph
    order = list(range(len(types)))
    random.shuffle(order)  # type: ignore[attr-defined]
    place = {node: position for position, node in enumerate(order)}
    moved_types = [types[node] for node in order]
    moved = [(place[p], place[c]) for p, c in links]
    assert same_graph(types, links, moved_types, moved)
    partner = align(types, links, moved_types, moved)
    assert sorted(partner) == sorted(partner.values()) == list(range(len(types)))
    assert {(partner[p], partner[c]) for p, c in moved} == set(links)
