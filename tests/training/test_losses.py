from __future__ import annotations

import math

import pytest
import torch

from orchestai.planner.shapes import (
    Decomposition,
    Evidence,
    GeneratedGraph,
    PlannerOutputs,
    Selection,
)
from orchestai.training.losses import (
    COMPLEXITY_WEIGHT,
    IMITATION_WEIGHT,
    PRESENCE_WEIGHT,
    STOP_WEIGHT,
    LossParts,
    Targets,
    acyclicity,
    dag_loss,
    presence_loss,
    selection_loss,
    supervised_losses,
)


def targets(size: int = 2, **changes: torch.Tensor) -> Targets:
    """One instruction with `size` sub-tasks of type 0 in a chain."""
    adjacency = torch.diag(torch.ones(size - 1), 1)[None]
    default = Targets(
        types=torch.zeros(1, size, dtype=torch.long),
        mask=torch.ones(1, size, dtype=torch.bool),
        adjacency=adjacency,
        selections=torch.zeros(1, size, dtype=torch.long),
        imitation=torch.tensor([False]),
        complexities=torch.full((1, size), 0.5),
        counts=torch.tensor([[float(size), 0.0]]),
    )
    return default._replace(**changes)


def test_acyclicity_is_zero_for_a_dag_and_by_hand_for_a_cycle() -> None:
    dag = torch.tensor([[[0.0, 0.9, 0.7], [0.0, 0.0, 0.8], [0.0, 0.0, 0.0]]])
    assert acyclicity(dag).item() == pytest.approx(0.0, abs=1e-6)
    # A = [[0, a], [b, 0]]: exp(A*A) has the diagonal cosh(ab), so h = 2 cosh(ab) - 2, divided by S = 2.
    cycle = torch.tensor([[[0.0, 0.5], [0.8, 0.0]]])
    assert acyclicity(cycle).item() == pytest.approx(math.cosh(0.5 * 0.8) - 1, rel=1e-5)


def test_acyclicity_pushes_against_the_weaker_edge_of_a_cycle() -> None:
    probs = torch.tensor([[[0.0, 0.9], [0.2, 0.0]]], requires_grad=True)
    acyclicity(probs).sum().backward()
    assert probs.grad is not None
    assert probs.grad[0, 1, 0] > probs.grad[0, 0, 1] > 0


def test_dag_loss_is_cross_entropy_over_ordered_pairs_plus_acyclicity() -> None:
    probs = torch.tensor([[[0.0, 0.5], [0.8, 0.0]]])
    adjacency = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    entropy = (-math.log(0.5) - math.log(0.2)) / 2
    expected = entropy + math.cosh(0.4) - 1
    assert dag_loss(probs, adjacency, torch.ones(1, 2, dtype=torch.bool)).item() == pytest.approx(expected, rel=1e-5)


def test_parents_and_children_are_not_swapped() -> None:
    """`adjacency[parent][child]`: probability on the transpose is punished."""
    right = torch.tensor([[[0.0, 0.9], [0.1, 0.0]]])
    gold = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert dag_loss(right, gold, mask) < dag_loss(right.transpose(1, 2), gold, mask) - 1


def test_a_single_sub_task_has_no_dag_loss() -> None:
    assert dag_loss(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)).item() == 0


def test_padding_is_left_out_of_the_dag_loss() -> None:
    probs = torch.zeros(1, 3, 3)
    probs[0, :2, :2] = torch.tensor([[0.0, 0.7], [0.3, 0.0]])
    gold = torch.zeros(1, 3, 3)
    gold[0, 0, 1] = 1.0
    mask = torch.tensor([[True, True, False]])
    entropy = -math.log(0.7)  # both pairs: -ln 0.7 each
    h = (2 * math.cosh(0.21) - 2) / 3
    assert dag_loss(probs, gold, mask).item() == pytest.approx(entropy + h, rel=1e-4)


def test_selection_counts_known_workers_only_and_imitation_less() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0], [1.0, 1.0]])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    wanted = Targets(
        types=torch.zeros(2, 2, dtype=torch.long),
        mask=torch.ones(2, 2, dtype=torch.bool),
        adjacency=torch.zeros(2, 2, 2),
        selections=torch.tensor([[0, 0], [1, -1]]),
        imitation=torch.tensor([True, False]),
        complexities=torch.zeros(2, 2),
        counts=torch.zeros(2, 1),
    )
    weights = 2 * IMITATION_WEIGHT + 1
    expected = (IMITATION_WEIGHT * (right + wrong) + right) / weights
    assert selection_loss(logits, wanted).item() == pytest.approx(expected, rel=1e-5)


def test_a_worker_behind_the_modality_mask_teaches_nothing() -> None:
    logits = torch.tensor([[-1e9, 0.0], [0.0, 0.0]])
    assert selection_loss(logits, targets()).item() == pytest.approx(math.log(2), rel=1e-5)


def test_without_any_known_selection_the_term_is_zero_and_finite() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = selection_loss(logits, targets(selections=torch.full((1, 2), -1)))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_presence_asks_again_only_where_a_type_occurs() -> None:
    evidence = Evidence(torch.tensor([[[1.0, 3.0], [-2.0, 3.0]]]), torch.zeros(1, 2, 1), torch.zeros(1, 2))
    first = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))
    again = math.log(1 + math.exp(-3))  # type 0 occurs twice; type 1 not at all, so its 'again' is not asked
    assert presence_loss(evidence.presence, torch.tensor([[2.0, 0.0]])).item() == pytest.approx(
        (first + again) / 2, rel=1e-5
    )


def test_all_parts_together_by_hand() -> None:
    log_probs = torch.log(torch.tensor([[[0.8, 0.2], [0.5, 0.5]]]))
    stops = torch.tensor([[-1.0, 2.0]])
    outputs = PlannerOutputs(
        evidence=Evidence(torch.zeros(1, 2, 2), torch.zeros(1, 2, 1), torch.zeros(1, 2)),
        decomposition=Decomposition(
            subtask_embeddings=torch.zeros(1, 2, 4),
            task_types=log_probs,
            dependencies=torch.zeros(1, 2, 20),
            complexities=torch.tensor([[[0.5], [0.9]]]),
            stop_probs=stops.sigmoid()[..., None],
        ),
        graph=GeneratedGraph(
            torch.zeros(1, 2, 4), torch.tensor([[[0.0, 0.9], [0.1, 0.0]]]), torch.zeros(1, 2, 2), None
        ),
        selection=Selection(torch.zeros(2, 4), torch.full((2, 4), 0.25), torch.zeros(2, 1)),
    )
    parts = supervised_losses(outputs, stops, targets())
    assert parts.types.item() == pytest.approx((-math.log(0.8) - math.log(0.5)) / 2, rel=1e-5)
    assert parts.selections.item() == pytest.approx(math.log(4), rel=1e-5)
    assert parts.stop.item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2, rel=1e-5)
    assert parts.complexity.item() == pytest.approx(0.16 / 2, rel=1e-4)
    assert parts.dag.item() == pytest.approx(-math.log(0.9) + math.cosh(0.09) - 1, rel=1e-4)


def test_the_documented_loss_is_cross_entropies_plus_lambda_times_dag() -> None:
    parts = LossParts(*(torch.tensor(float(2**power)) for power in range(6)))
    assert parts.documented(0.3).item() == pytest.approx(1 + 2 + 0.3 * 4)
    auxiliary = STOP_WEIGHT * 8 + COMPLEXITY_WEIGHT * 16 + PRESENCE_WEIGHT * 32
    assert parts.total(0.3).item() == pytest.approx(1 + 2 + 1.2 + auxiliary)
