"""One instruction alone takes another road through the same arithmetic: the plans must be those of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestai.contracts import TaskCatalog, TaskType
from orchestai.planner.decoding import DecodingConfig
from orchestai.planner.encoder import InstructionEncoder
from orchestai.planner.hints import FEATURES
from orchestai.planner.learned import propose
from orchestai.planner.model import NetworkConfig, PlannerNetwork, describe_types
from orchestai.planner.quick import QuickSearch
from tests.planner.toys import HIDDEN, TASKS, WordEncoder

LINKED = TaskCatalog(
    types=tuple(TaskType(name=f"tool {i}", description=f"does {i} and {i * 7 % 31}") for i in range(40)),
    links=tuple((f"tool {i}", f"tool {(i * 3 + 1) % 40}") for i in range(40)),
)
TEXTS = [f"{a} {b} and then {c} please" for a in ["bad", "fig", "jam"] for b in ["sun", "moon"] for c in ["one", "two"]]


def network_for(tasks: TaskCatalog, gnn: str, seed: int) -> PlannerNetwork:
    torch.manual_seed(seed)
    sizes = NetworkConfig(
        hidden_size=HIDDEN, trained_types=len(tasks), max_subtasks=5, lstm_size=24, size=16, subtask_size=40, gnn=gnn
    )
    network = PlannerNetwork(sizes).eval()
    with torch.no_grad():  # as training leaves it: no part at zero
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    ("tasks", "gnn", "trained"),
    [(TASKS, "gat", 3), (TASKS, "sage", 3), (LINKED, "gat", 40), (LINKED, "sage", 40), (LINKED, "gat", 33)],
    ids=["small, gat", "small, sage", "narrowed, gat", "narrowed, sage", "seven types are new"],
)
def test_a_single_text_is_searched_as_in_a_batch(tasks: TaskCatalog, gnn: str, trained: int) -> None:
    encoder = WordEncoder()
    encoded = InstructionEncoder(encoder).encode(TEXTS)
    config = DecodingConfig(transition_weight=0.3, presence_weight=0.2)
    lengths: set[int] = set()
    chosen: set[int] = set()
    known = TaskCatalog(types=tasks.types[:trained])
    for seed in range(3):
        network = network_for(known, gnn, seed)
        hints = torch.rand(len(TEXTS), len(tasks), FEATURES)
        if trained < len(tasks):
            hints = torch.cat([hints, 2 * torch.randn(len(TEXTS), len(tasks), 1)], dim=-1)
        transitions = torch.randn(len(tasks) + 1, len(tasks))
        with torch.inference_mode():
            tables = network.tables(describe_types(tasks, encoder, known))
            together = propose(network, encoded, tables, hints, transitions, config)
        quick = QuickSearch(network, tables, transitions, config)
        for row, wanted in enumerate(together):
            states = encoded.states[row][encoded.mask[row]]
            found = quick(states, encoded.embeddings[row], hints[row])
            assert [one.types for one in found.candidates] == [one.types for one in wanted.candidates]
            for ours, theirs in zip(found.candidates, wanted.candidates, strict=True):
                assert ours.sequence == pytest.approx(theirs.sequence, abs=1e-3)
                assert ours.presence == pytest.approx(theirs.presence, abs=1e-3)
                assert ours.transition == pytest.approx(theirs.transition, abs=1e-4)
                assert ours.subtasks is None
                chosen.update(ours.types)
            for place, one in enumerate(found.candidates):
                size = len(one.types)
                lengths.add(size)
                ours_edges = np.triu(np.array(found.edges[place])[:size, :size], 1)
                theirs_edges = np.triu(np.array(wanted.edges[place])[:size, :size], 1)
                assert ours_edges == pytest.approx(theirs_edges, abs=1e-4)
    assert len(lengths) > 1  # plans of several sub-tasks were compared, and of different sizes
    assert (max(chosen) >= trained) == (trained < len(tasks))  # new types were among them, if there are any
