from __future__ import annotations

import itertools
import math

import pytest
import torch

from orchestai.planner.agreement import PlanShape, agreement, link_f1, node_f1, same
from orchestai.planner.calibration import Calibration, expected_calibration_error, fit_calibration
from orchestai.planner.decoding import Candidate, DecodingConfig, Proposal, beam_search, choose
from orchestai.planner.encoder import InstructionEncoder
from orchestai.planner.hints import FEATURES
from orchestai.planner.model import NetworkConfig, PlannerNetwork, describe_types
from tests.planner.toys import HIDDEN, TASKS, WordEncoder


def test_f1_by_hand() -> None:
    a = PlanShape((0, 1, 1), ((), (0,), (1,)))
    b = PlanShape((0, 1), ((), (0,)))
    assert node_f1(a, b) == pytest.approx(2 * 2 / 5)
    assert link_f1(a, b) == pytest.approx(2 * 1 / 3)
    assert agreement(a, b) == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert link_f1(PlanShape((0,), ((),)), PlanShape((1,), ((),))) == 1.0


def test_numbering_does_not_count_but_structure_does() -> None:
    a = PlanShape((0, 1, 2), ((), (), (0, 1)))
    assert same(a, PlanShape((1, 0, 2), ((), (), (0, 1))))
    assert not same(a, PlanShape((1, 0, 2), ((), (0,), (1,))))
    # Same types and same typed links, yet different graphs: 0 -> 1 -> 2 and 0 -> 1, 1 -> 2 apart.
    chain = PlanShape((0, 1, 1, 2), ((), (0,), (), (1,)))
    apart = PlanShape((0, 1, 1, 2), ((), (0,), (), (2,)))
    assert link_f1(chain, apart) == 1.0
    assert not same(chain, apart)


@pytest.fixture
def network() -> PlannerNetwork:
    torch.manual_seed(4)
    config = NetworkConfig(hidden_size=HIDDEN, trained_types=3, max_subtasks=3, lstm_size=16, size=16)
    return PlannerNetwork(config).eval()


def test_the_beam_finds_the_best_of_all_sequences(network: PlannerNetwork) -> None:
    encoder = WordEncoder()
    encoded = InstructionEncoder(encoder).encode(["paint then bake", "look"])
    with torch.inference_mode():
        _, memory = network.look(encoded, network.tables(describe_types(TASKS, encoder)), torch.zeros(2, 3, FEATURES))
        found = beam_search(network.decomposer, memory, torch.zeros(4, 3), DecodingConfig(beam=27, candidates=39))
        scores: list[dict[tuple[int, ...], float]] = [{}, {}]
        for length in (1, 2, 3):
            for types in itertools.product(range(3), repeat=length):
                decomposition, stops = network.decomposer(memory, torch.tensor([types, types]))
                for row in (0, 1):
                    total = sum(decomposition.task_types[row, s, t].item() for s, t in enumerate(types))
                    stop = torch.sigmoid(stops[row])
                    total += sum(math.log(1 - stop[s].item()) for s in range(length - 1))
                    scores[row][types] = total + math.log(stop[length - 1].item())
    for row in (0, 1):
        best = max(scores[row], key=scores[row].__getitem__)
        assert found[row][0].types == best
        for candidate in found[row]:
            assert candidate.sequence == pytest.approx(scores[row][candidate.types], abs=1e-3)


def test_transitions_and_presence_can_turn_the_order(network: PlannerNetwork) -> None:
    encoder = WordEncoder()
    encoded = InstructionEncoder(encoder).encode(["paint then bake"])
    prior = torch.full((4, 3), -5.0)
    prior[3, 2] = prior[2, 1] = 5.0  # start -> 2 -> 1
    config = DecodingConfig(transition_weight=5.0)
    with torch.inference_mode():
        _, memory = network.look(encoded, network.tables(describe_types(TASKS, encoder)), torch.zeros(1, 3, FEATURES))
        (found,) = beam_search(network.decomposer, memory, prior, config)
    assert found[0].types == (2, 1)
    assert found[0].transition == pytest.approx(10.0)


def test_no_plan_is_longer_than_allowed(network: PlannerNetwork) -> None:
    with torch.no_grad():
        network.decomposer.stop[-1].bias.fill_(-30.0)
    encoder = WordEncoder()
    encoded = InstructionEncoder(encoder).encode(["paint"])
    with torch.inference_mode():
        _, memory = network.look(encoded, network.tables(describe_types(TASKS, encoder)), torch.zeros(1, 3, FEATURES))
        (found,) = beam_search(network.decomposer, memory, torch.zeros(4, 3), DecodingConfig(beam=9, candidates=39))
    assert max(len(candidate.types) for candidate in found) == 3


def test_the_plan_in_the_middle_wins_over_the_likeliest() -> None:
    types = ((0,), (0, 1), (0, 2), (0, 1, 2))
    weights = (0.26, 0.25, 0.245, 0.245)
    candidates = [Candidate(t, math.log(w), 0.0, 0.0) for t, w in zip(types, weights, strict=True)]
    none = [[[0.0] * 3] * 3] * 4
    chosen = choose([Proposal(candidates, none)], DecodingConfig())
    plans = [PlanShape(t, ((),) * len(t)) for t in types]
    expected = [sum(w * agreement(p, q) for w, q in zip(weights, plans, strict=True)) for p in plans]
    assert expected.index(max(expected)) > 0
    assert chosen.shape == plans[expected.index(max(expected))]


def test_networks_vote_and_average_their_edges() -> None:
    def proposal(weight: float, edge: float) -> Proposal:
        candidates = [Candidate((0, 1), math.log(weight), 0, 0), Candidate((2,), math.log(1 - weight), 0, 0)]
        return Proposal(candidates, [[[0.0, edge], [0.0, 0.0]]] * 2)

    # (0, 1) has 0.9 and 0.5, so 0.7 on average; its edge (0.9 * 0.8 + 0.5 * 0.1) / 1.4 = 0.55.
    chosen = choose([proposal(0.9, 0.8), proposal(0.5, 0.1)], DecodingConfig())
    assert chosen.shape == PlanShape((0, 1), ((), (0,)))
    assert chosen.probability == pytest.approx(0.7 * 0.55, rel=1e-3)


def test_probability_is_that_of_sequence_and_edges() -> None:
    probs = [[[0.0, 0.8, 0.1], [0.0, 0.0, 0.9], [0.0, 0.0, 0.0]]] * 2
    candidates = [Candidate((0, 1, 2), math.log(0.6), 0, 0), Candidate((2,), math.log(0.4), 0, 0)]
    chosen = choose([Proposal(candidates, probs)], DecodingConfig())
    assert chosen.shape == PlanShape((0, 1, 2), ((), (0,), (1,)))
    assert chosen.probability == pytest.approx(0.6 * 0.8 * 0.9 * 0.9)


def test_calibration_lowers_what_is_too_sure() -> None:
    # 100 plans at 0.9 of which 50 were right, 100 at 0.5 of which 20 were.
    probabilities = [0.9] * 100 + [0.5] * 100
    right = [True] * 50 + [False] * 50 + [True] * 20 + [False] * 80
    fitted = fit_calibration(probabilities, right)
    assert fitted(0.9) == pytest.approx(0.5, abs=0.02)
    assert fitted(0.5) == pytest.approx(0.2, abs=0.02)
    assert fitted.rows == 200
    raw = expected_calibration_error(probabilities, right)
    assert raw == pytest.approx((0.4 + 0.3) / 2)
    assert expected_calibration_error([fitted(p) for p in probabilities], right) < 0.02


def test_calibration_of_few_or_one_sided_rows_stays_sane() -> None:
    assert fit_calibration([], []) == Calibration()
    all_right = fit_calibration([0.6, 0.7, 0.8], [True] * 3)
    assert 0.5 < all_right(0.7) < 0.95
    inverse = fit_calibration([0.9] * 20 + [0.1] * 20, [False] * 20 + [True] * 20)
    assert inverse.slope > 0
    assert 0 <= Calibration(slope=9, offset=-9)(0.0) <= Calibration(slope=9, offset=-9)(1.0) <= 1
