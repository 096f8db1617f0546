from __future__ import annotations

import math

import networkx as nx
import pytest
import torch

from orchestai.contracts import TaskCatalog, TaskType
from orchestai.embeddings import load_encoder
from orchestai.errors import NoWorkerError
from orchestai.planner.decomposer import START, due_presence
from orchestai.planner.encoder import InstructionEncoder
from orchestai.planner.graph_generator import WorkflowGraphGenerator, decode_adjacency, dense_gat
from orchestai.planner.hints import FEATURES
from orchestai.planner.model import (
    NetworkConfig,
    PlannerNetwork,
    describe_types,
    describe_workers,
    map_transitions,
    transition_prior,
)
from orchestai.planner.selector import RLModelSelector
from orchestai.planner.shapes import DescribedTypes, DescribedWorkers, Evidence, PlannerOutputs
from tests.planner.toys import HIDDEN, TASKS, WORKERS, WordEncoder

KINDS = ("gcn", "gat", "sage")


@pytest.fixture
def network() -> PlannerNetwork:
    torch.manual_seed(0)
    return PlannerNetwork(NetworkConfig(hidden_size=HIDDEN, trained_types=3)).eval()


def run(
    network: PlannerNetwork, texts: list[str], chosen: torch.Tensor, mask: torch.Tensor
) -> tuple[PlannerOutputs, torch.Tensor]:
    encoder = WordEncoder()
    with torch.set_grad_enabled(network.training):
        return network(
            InstructionEncoder(encoder).encode(texts),
            describe_types(TASKS, encoder),
            describe_workers(WORKERS, TASKS, encoder),
            torch.zeros(len(texts), 3, FEATURES),
            chosen,
            mask,
        )


def test_the_instruction_encoder_is_batch_by_hidden() -> None:
    encoder = InstructionEncoder(load_encoder("minilm"))
    assert encoder(["Summarise this.", "Paint it."]).shape == (2, 384)
    assert encoder.hidden_size == 384


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_all_outputs_have_the_documented_shapes(network: PlannerNetwork, steps: int) -> None:
    chosen = torch.zeros(2, steps, dtype=torch.long)
    outputs, stops = run(network, ["paint now", "bake"], chosen, torch.ones(2, steps, dtype=torch.bool))
    decomposition, graph, selection = outputs.decomposition, outputs.graph, outputs.selection
    assert decomposition.subtask_embeddings.shape == (2, steps, 512)
    assert decomposition.task_types.shape == (2, steps, 3)
    assert decomposition.dependencies.shape == (2, steps, 20)
    assert decomposition.complexities.shape == (2, steps, 1)
    assert decomposition.stop_probs.shape == (2, steps, 1)
    assert graph.node_embeddings.shape == (2, steps, 128)
    assert graph.edge_probs.shape == graph.adjacency.shape == (2, steps, steps)
    assert selection.action_logits.shape == selection.action_probs.shape == (2 * steps, 3)
    assert selection.value.shape == (2 * steps, 1)
    assert stops.shape == (2, steps)
    assert torch.allclose(decomposition.task_types.exp().sum(-1), torch.ones(2, steps), atol=1e-5)


def test_dependencies_point_to_earlier_sub_tasks_only(network: PlannerNetwork) -> None:
    chosen = torch.tensor([[0, 1, 2]])
    outputs, _ = run(network, ["paint"], chosen, torch.ones(1, 3, dtype=torch.bool))
    dependencies = outputs.decomposition.dependencies[0]
    assert (dependencies[1, 0] > 0, dependencies[2, 1] > 0) == (True, True)
    assert dependencies.triu(0).sum() == 0
    assert dependencies[:, 3:].sum() == 0


def test_padding_changes_nothing(network: PlannerNetwork) -> None:
    alone, _ = run(network, ["paint then bake"], torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    chosen = torch.tensor([[0, 1, 0, 0], [2, 1, 0, 2]])
    padded, _ = run(network, ["paint then bake", "look at the wall and bake it soon"], chosen, mask)
    first = padded.graph
    types = padded.decomposition.task_types[0, :2]
    assert torch.allclose(types, alone.decomposition.task_types[0], atol=1e-4)
    assert torch.allclose(first.node_embeddings[0, :2], alone.graph.node_embeddings[0], atol=1e-4)
    assert torch.allclose(first.edge_probs[0, :2, :2], alone.graph.edge_probs[0], atol=1e-4)
    assert first.edge_probs[0, 2:].sum() + first.edge_probs[0, :, 2:].sum() == 0
    assert first.node_embeddings[0, 2:].abs().sum() == 0


def test_rows_of_any_length_are_read_as_if_they_were_alone(network: PlannerNetwork) -> None:
    """More rows than attend together, in no order of length."""
    texts = ["one two three " * count for count in (1, 7, 2, 9, 3, 1, 4, 8, 2, 5, 6)]
    encoder = WordEncoder()
    tables = network.tables(describe_types(TASKS, encoder))
    hints = torch.rand(len(texts), 3, FEATURES)
    together = network.evidence(InstructionEncoder(encoder).encode(texts), tables[:3], hints)
    for row, text in enumerate(texts):
        alone = network.evidence(InstructionEncoder(encoder).encode([text]), tables[:3], hints[row : row + 1])
        for found, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(found[row], expected[0], atol=1e-5, rtol=1e-4)
    places = together.positions
    assert ((places >= 0) & (places < 1)).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_lstm_is_that_of_torch(network: PlannerNetwork, seed: int) -> None:
    torch.manual_seed(seed)
    decomposer = network.decomposer
    inputs = torch.randn(3, 5, decomposer.lstm.input_size)
    expected, (hidden, cell) = decomposer.lstm(inputs)
    found, state = decomposer._walk(inputs[:, :2], None)
    rest, state = decomposer._walk(inputs[:, 2:], state)
    torch.testing.assert_close(torch.cat([found, rest], dim=1), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state[0], hidden, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state[1], cell, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_adjacency_is_acyclic_whatever_the_weights(kind: str) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        generator = WorkflowGraphGenerator(subtask_size=16, node_size=8, kind=kind, max_subtasks=20, dropout=0.0)
        with torch.no_grad():
            generator.edge.bias.fill_(float(seed))
        graph = generator(torch.randn(3, 20, 16), torch.rand(3, 20, 20).tril(-1), return_graph=True)
        assert graph.graphs is not None
        assert all(nx.is_directed_acyclic_graph(one) for one in graph.graphs)
        assert graph.edge_probs.tril(-1).sum() > 0  # the raw probabilities do hold cycles
        assert set(graph.adjacency.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_messages_reach_the_other_sub_tasks_and_no_other_instruction(kind: str) -> None:
    torch.manual_seed(0)
    generator = WorkflowGraphGenerator(subtask_size=16, node_size=8, kind=kind, max_subtasks=5, dropout=0.0)
    subtasks, dependencies = torch.randn(2, 3, 16), torch.full((2, 3, 5), 0.9)
    before = generator(subtasks, dependencies).node_embeddings
    subtasks[0, 0] += 1.0
    after = generator(subtasks, dependencies).node_embeddings
    assert not torch.allclose(before[0, 2], after[0, 2], atol=1e-4)
    assert torch.allclose(before[1], after[1])


def test_graphs_name_real_sub_tasks_only() -> None:
    generator = WorkflowGraphGenerator(subtask_size=4, node_size=4, kind="gcn", max_subtasks=5, dropout=0.0)
    with torch.no_grad():
        generator.edge.bias.fill_(50.0)
    mask = torch.tensor([[True, True, False]])
    graph = generator(torch.zeros(1, 3, 4), torch.zeros(1, 3, 5), mask, return_graph=True)
    assert graph.graphs is not None
    assert list(graph.graphs[0].nodes) == [0, 1]
    assert list(graph.graphs[0].edges) == [(0, 1)]
    assert generator(torch.zeros(1, 3, 4), torch.zeros(1, 3, 5), mask).graphs is None


def test_decoding_keeps_forward_pairs_above_the_threshold() -> None:
    probs = torch.tensor([[0.9, 0.6, 0.4], [0.9, 0.9, 0.7], [0.9, 0.9, 0.9]])
    assert decode_adjacency(probs, 0.5).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_a_type_that_came_already_is_judged_by_its_second_logit() -> None:
    evidence = Evidence(torch.tensor([[[3.0, 1.0]]]), torch.zeros(1, 1, 4), torch.zeros(1, 1))
    due = [due_presence(evidence, torch.full((1, 1, 1), float(n))).item() for n in range(4)]
    assert due == [3.0, 1.0, -1.0, -3.0]


def test_the_lstm_remembers_what_was_chosen(network: PlannerNetwork) -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    a, _ = run(network, ["paint bake look"], torch.tensor([[0, 1, 2]]), mask)
    b, _ = run(network, ["paint bake look"], torch.tensor([[1, 1, 2]]), mask)
    assert torch.allclose(a.decomposition.task_types[0, 0], b.decomposition.task_types[0, 0])
    assert not torch.allclose(a.decomposition.task_types[0, 2], b.decomposition.task_types[0, 2], atol=1e-5)
    assert START == -1


def test_a_new_type_is_scored_by_its_description_alone(network: PlannerNetwork) -> None:
    encoder = WordEncoder()
    twin = TaskType(name="paint", description="paint a wall quickly")
    catalog = TaskCatalog(types=(*TASKS.types[1:], twin))
    with torch.no_grad():
        for embedding in (network.evidence.queries, network.evidence.outputs, network.decomposer.names):
            embedding.learned.weight[:3] += 1.0
    described = describe_types(catalog, encoder, TASKS)
    assert described.rows.tolist() == [1, 2, 3]
    names = network.decomposer.names(described)
    scale = HIDDEN**0.5
    bare = network.decomposer.names.describe(described.descriptions * scale)
    assert torch.allclose(names[2], bare[2])
    assert torch.allclose(names[0], bare[0] + 1.0)


def test_the_learned_part_of_no_type_is_never_trained(network: PlannerNetwork) -> None:
    network.train()
    outputs, stops = run(network, ["paint"], torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.bool))
    (outputs.decomposition.task_types.sum() + outputs.evidence.presence.sum() + stops.sum()).backward()
    assert network.evidence.queries.learned.weight.grad is not None
    assert network.evidence.queries.learned.weight.grad[3].abs().sum() == 0


def test_the_dense_graph_layer_is_the_one_over_lists_of_edges() -> None:
    from torch_geometric.nn import GATConv

    torch.manual_seed(0)
    layer = GATConv(8, 8, heads=1, edge_dim=1)
    nodes, parents = torch.randn(2, 3, 8), torch.rand(2, 3, 3).triu(1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    pairs = mask[:, :, None] & mask[:, None, :] & ~torch.eye(3, dtype=torch.bool)
    weight = parents + parents.transpose(1, 2)
    batch, source, target = torch.nonzero(pairs, as_tuple=True)
    index = torch.stack([batch * 3 + source, batch * 3 + target])
    with torch.no_grad():
        layer.bias.normal_()
        expected = layer(nodes.view(6, 8), index, edge_attr=weight[batch, source, target][:, None]).view(2, 3, 8)
        assert torch.allclose(dense_gat(layer, nodes, weight, pairs), expected, atol=1e-6)


def test_a_narrowed_memory_keeps_the_likeliest_types_and_what_belongs_to_them(network: PlannerNetwork) -> None:
    encoder = WordEncoder()
    types = describe_types(TASKS.model_copy(update={"links": (("paint", "look"),)}), encoder)
    assert types.links.nonzero().tolist() == [[0, 2]]
    hints = torch.zeros(1, 3, FEATURES)
    hints[0, :, 0] = torch.tensor([1.0, -9.0, 2.0])  # 'bake' is the least likely
    with torch.inference_mode():
        evidence, memory = network.look(InstructionEncoder(encoder).encode(["paint"]), network.tables(types), hints)
        narrow = memory.narrow(2)
    assert memory.narrow(3) is memory
    assert narrow.kinds.tolist() == [[0, 2]]
    assert narrow.links.tolist() == [[[0.0, 1.0], [0.0, 0.0]]]
    assert torch.equal(narrow.names, memory.names[:, [0, 2]])
    assert torch.equal(narrow.evidence.contexts, evidence.contexts[:, [0, 2]])
    assert narrow.rest.item() == pytest.approx(evidence.presence[0, 1, 0].sigmoid().item(), abs=1e-6)


def make_selector() -> tuple[RLModelSelector, DescribedWorkers]:
    torch.manual_seed(1)
    selector = RLModelSelector(hidden_size=HIDDEN, node_size=8, size=16, dropout=0.0).eval()
    selector.requires_grad_(False)
    return selector, describe_workers(WORKERS, TASKS, WordEncoder())


def test_the_state_is_instruction_and_node_768_and_128_make_896() -> None:
    assert RLModelSelector(hidden_size=768, node_size=128, size=16, dropout=0.0).state_size == 896


def test_a_worker_without_the_modality_is_never_chosen() -> None:
    selector, workers = make_selector()
    allowed = workers.able.T[torch.tensor([2] * 50)]  # 'look' needs vision: only 'eye' has it
    chosen = selector.select_action(torch.randn(50, HIDDEN + 8), workers, allowed)
    assert chosen.action.tolist() == [2] * 50
    assert chosen.log_prob.abs().max() < 1e-6
    assert chosen.entropy.abs().max() < 1e-6


def test_log_prob_and_entropy_belong_to_the_drawn_action() -> None:
    selector, workers = make_selector()
    state = torch.randn(4, HIDDEN + 8)
    probs = selector(state, workers).action_probs
    generator = torch.Generator().manual_seed(3)
    drawn = selector.select_action(state, workers, generator=generator)
    again = selector.select_action(state, workers, generator=torch.Generator().manual_seed(3))
    assert drawn.action.tolist() == again.action.tolist()
    for row in range(4):
        assert drawn.log_prob[row].item() == pytest.approx(math.log(probs[row, drawn.action[row]]), abs=1e-5)
        by_hand = -sum(p * math.log(p) for p in probs[row].tolist())
        assert drawn.entropy[row].item() == pytest.approx(by_hand, abs=1e-5)
    greedy = selector.select_action(state, workers, greedy=True)
    assert greedy.action.tolist() == probs.argmax(dim=-1).tolist()


def test_no_allowed_worker_is_an_error() -> None:
    selector, workers = make_selector()
    with pytest.raises(NoWorkerError):
        selector.select_action(torch.randn(1, HIDDEN + 8), workers, torch.zeros(1, 3, dtype=torch.bool))


def test_a_new_worker_is_scored_without_new_weights() -> None:
    selector, workers = make_selector()
    more = DescribedWorkers(*(torch.cat([part, part[:1] * 0.5]) for part in workers[:2]), workers.able[[0, 1, 2, 0]])
    state = torch.randn(2, HIDDEN + 8)
    before, after = selector(state, workers), selector(state, more)
    assert after.action_logits.shape == (2, 4)
    assert torch.allclose(after.action_logits[:, :3], before.action_logits, atol=1e-6)


def test_the_transition_prior_counts_and_smooths() -> None:
    prior = transition_prior([(0, 1), (0, 1), (1,)], 3)
    # Pairs: start->0 twice, start->1 once, 0->1 twice. Types drawn: 0 twice, 1 three times: of 5 (+ 0.5 each).
    unigram = [2.5 / 6.5, 3.5 / 6.5, 0.5 / 6.5]
    assert prior[0, 1].item() == pytest.approx(math.log(3 * (2 + 2 * unigram[1]) / (2 + 2)), abs=1e-5)
    assert prior[3, 0].item() == pytest.approx(math.log(3 * (2 + 2 * unigram[0]) / (3 + 2)), abs=1e-5)
    mapped = map_transitions(prior, torch.tensor([1, 3]))  # one trained type, one new
    assert mapped.shape == (3, 2)
    assert mapped[2, 0] == prior[3, 1]
    assert mapped[:, 1].tolist() == [0.0, 0.0, 0.0]  # as likely as chance
    assert mapped[1, 0] == pytest.approx(prior[:, 1].mean())


def test_many_types_work_too() -> None:
    encoder = WordEncoder()
    catalog = TaskCatalog(types=tuple(TaskType(name=f"t{i}", description=f"tool {i}") for i in range(260)))
    network = PlannerNetwork(NetworkConfig(hidden_size=HIDDEN, trained_types=260)).eval()
    types: DescribedTypes = describe_types(catalog, encoder)
    encoded = InstructionEncoder(encoder).encode(["use tool 7"])
    _, memory = network.look(encoded, network.tables(types), torch.zeros(1, 260, FEATURES))
    decomposition, _ = network.decomposer(memory, torch.tensor([[7, 259, 7]]))
    assert decomposition.task_types.shape == (1, 3, 260)
