from __future__ import annotations

import itertools

import numpy as np
import pytest

from orchestai.contracts import Subtask
from orchestai.contracts.steps import acyclic
from orchestai.errors import InputError
from orchestai.planner.structure import StepStructure
from orchestai.planner.structure_decoding import decode_structure, greedy_structure, reduced
from orchestai.planner.structure_features import NODE_FEATURES, PAIR_FEATURES, step_features
from orchestai.planner.structure_network import StructureConfig, StructureEnsemble
from orchestai.planner.structure_prior import GraphPrior
from tests.planner.toys import WordEncoder


@pytest.mark.parametrize("seed", range(30))
def test_every_decoded_graph_is_acyclic_and_reduced(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    probs = rng.random((size, size))
    for edges in (decode_structure(probs), greedy_structure(probs)):
        assert acyclic(size, edges)
        assert reduced(size, edges) == edges


def test_sure_probabilities_are_followed_backwards_too() -> None:
    probs = np.full((4, 4), 0.01)
    for parent, child in ((3, 0), (3, 1), (1, 2)):
        probs[parent, child] = 0.99
    assert decode_structure(probs) == ((1, 2), (3, 0), (3, 1))


def test_implied_edges_are_left_out() -> None:
    assert reduced(3, [(0, 1), (1, 2), (0, 2)]) == ((0, 1), (1, 2))


def test_shapes_decide_where_the_probabilities_do_not() -> None:
    probs = np.full((3, 3), 0.3)
    fan, join = ((0, 1), (0, 2)), ((0, 2), (1, 2))
    assert decode_structure(probs, GraphPrior({3: {fan: 99, join: 1}})) == fan
    assert decode_structure(probs, GraphPrior({3: {fan: 1, join: 99}})) == join


def test_graphs_of_other_sizes_say_how_many_edges_are_usual_and_that_no_step_is_left_out() -> None:
    chain = tuple((step, step + 1) for step in range(4))
    prior = GraphPrior({5: {chain: 50}})
    two, one, none = prior(3, [((0, 1), (1, 2)), ((0, 1),), ()])
    assert two > one
    assert two > none
    unsure = np.array([[0.0, 0.4, 0.1], [0.0, 0.0, 0.4], [0.0, 0.0, 0.0]])
    assert decode_structure(unsure, prior) == ((0, 1), (1, 2))


def test_features_see_shared_words_and_places() -> None:
    texts = ["boil the water", "fetch a cup", "pour the water"]
    vectors = np.eye(3, dtype=np.float32)
    found = step_features("make tea", texts, vectors[0], vectors)
    assert found.nodes.shape == (3, NODE_FEATURES)
    assert found.pairs.shape == (3, 3, PAIR_FEATURES)
    own = found.pairs[0, 2, 11:32]
    assert own[0] == 2  # distance
    assert own[8] == 1  # "water" is shared
    assert found.pairs[0, 1, 11:32][8] == 0
    assert np.isfinite(found.pairs).all()


def test_one_step_and_odd_texts_have_features() -> None:
    for texts in (["x"], ["...", "!!"], ["水を沸かす", "お茶を入れる"]):
        vectors = np.eye(4, dtype=np.float32)[: len(texts)]
        assert np.isfinite(step_features("", texts, vectors[0], vectors).pairs).all()


@pytest.fixture(scope="module")
def untrained() -> StepStructure:
    encoder = WordEncoder()
    ensemble = StructureEnsemble(StructureConfig(hidden_size=encoder.hidden_size, size=8, node_size=8, members=2))
    return StepStructure(ensemble, encoder, {})


def test_even_an_untrained_network_gives_a_dag(untrained: StepStructure) -> None:
    for size in (1, 2, 5, 20):
        graph = untrained.predict("goal", [f"step number {i}" for i in range(size)])
        assert len(graph.dependencies) == size
        assert acyclic(size, graph.edges)
        assert not graph.edge_probs.diagonal().any()


def test_company_in_the_batch_does_not_matter(untrained: StepStructure) -> None:
    graphs = [untrained.predict("goal", ["a b", "b c", "c d"]).edge_probs for _ in range(2)]
    assert np.array_equal(*graphs)


def test_wrong_steps_are_refused(untrained: StepStructure) -> None:
    with pytest.raises(InputError, match="1 to 20 steps, got 0"):
        untrained.predict("goal", [])
    with pytest.raises(InputError, match="1 to 20 steps, got 21"):
        untrained.predict("goal", ["a"] * 21)
    with pytest.raises(InputError, match=r"steps\[1\] is empty"):
        untrained.predict("goal", ["a", " "])


def test_complete_makes_a_graph_of_subtasks(untrained: StepStructure) -> None:
    nodes = [Subtask(task_type="write_code", description=""), Subtask(task_type="run", description="run it")]
    graph = untrained.complete("a program", nodes)
    assert graph.nodes == tuple(nodes)
    assert all(p != c for p, c in itertools.chain(graph.edges))
