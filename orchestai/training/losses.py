"""The losses of Phase 1, one term a function; every term is a mean, so that batch sizes do not matter."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from orchestai.planner.shapes import PlannerOutputs

IMITATION_WEIGHT = 0.3
"""Weight of a selection that only repeats what was done: nothing says that it was good."""

STOP_WEIGHT = 1.0
COMPLEXITY_WEIGHT = 0.5
PRESENCE_WEIGHT = 1.0
_EPS = 1e-6


class Targets(NamedTuple):
    """What the outputs are compared with. B instructions, S sub-tasks, K types."""

    types: Tensor  # (B, S)
    mask: Tensor  # (B, S) true where there is a sub-task
    adjacency: Tensor  # (B, S, S) [parent][child]
    selections: Tensor  # (B, S) worker, -1 where unknown
    imitation: Tensor  # (B,) true where the selections only repeat what was done
    complexities: Tensor  # (B, S), negative where unknown
    counts: Tensor  # (B, K) how often each type occurs


class LossParts(NamedTuple):
    """The terms; `documented` and `total` are sums of them."""

    types: Tensor
    selections: Tensor
    dag: Tensor
    stop: Tensor
    complexity: Tensor
    presence: Tensor

    def documented(self, lambda_dag: float) -> Tensor:
        """The loss of the data-flow document: cross-entropies + lambda_dag * DAG loss."""
        return self.types + self.selections + lambda_dag * self.dag

    def total(self, lambda_dag: float) -> Tensor:
        """What is minimised: the documented loss and the auxiliary terms."""
        return (
            self.documented(lambda_dag)
            + STOP_WEIGHT * self.stop
            + COMPLEXITY_WEIGHT * self.complexity
            + PRESENCE_WEIGHT * self.presence
        )


def supervised_losses(outputs: PlannerOutputs, stop_logits: Tensor, targets: Targets) -> LossParts:
    """Compute all terms of one batch."""
    last = targets.mask & ~functional.pad(targets.mask[:, 1:], (0, 1))  # (B, S)
    decomposition = outputs.decomposition
    known = targets.mask & (targets.complexities >= 0)
    return LossParts(
        types=_mean(
            functional.nll_loss(decomposition.task_types.flatten(0, 1), targets.types.flatten(), reduction="none"),
            targets.mask.flatten(),
        ),
        selections=selection_loss(outputs.selection.action_logits, targets),
        dag=dag_loss(outputs.graph.edge_probs, targets.adjacency, targets.mask),
        stop=_mean(
            functional.binary_cross_entropy_with_logits(stop_logits, last.to(stop_logits.dtype), reduction="none"),
            targets.mask,
        ),
        complexity=_mean((decomposition.complexities.squeeze(-1) - targets.complexities) ** 2, known),
        presence=presence_loss(outputs.evidence.presence, targets.counts),
    )


def selection_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy to the chosen workers; imitation rows weigh less, unknown ones nothing."""
    wanted = targets.selections.flatten()
    known = (wanted >= 0) & targets.mask.flatten()
    weight = torch.where(targets.imitation, IMITATION_WEIGHT, 1.0)[:, None].expand_as(targets.selections).flatten()
    losses = functional.cross_entropy(logits, wanted.clamp(min=0), reduction="none")
    # A gold worker behind the modality mask has a logit of -1e9: such a row teaches nothing.
    possible = logits.gather(1, wanted.clamp(min=0)[:, None]).squeeze(1) > -1e8
    return _mean(losses, known & possible, weight)


def dag_loss(edge_probs: Tensor, adjacency: Tensor, mask: Tensor) -> Tensor:
    """Acyclicity of the raw edge probabilities + binary cross-entropy to the gold edges."""
    pairs = mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    probs = edge_probs.float().clamp(_EPS, 1 - _EPS)
    # Written out: torch's own refuses NaN with an assertion, where the trainer has a better message.
    entropy = -(adjacency * probs.log() + (1 - adjacency) * (1 - probs).log())
    return _mean(entropy, pairs) + acyclicity(edge_probs.float()).mean()


def acyclicity(edge_probs: Tensor) -> Tensor:
    """NOTEARS, arXiv:1803.01422 eq. 6: h(A) = tr(exp(A ∘ A)) - S, zero exactly for DAGs.

    Deviation: divided by S, so that long plans do not outweigh short ones. Returns [B].
    """
    size = edge_probs.shape[-1]
    trace = torch.linalg.matrix_exp(edge_probs * edge_probs).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return (trace - size) / size


def presence_loss(presence: Tensor, counts: Tensor) -> Tensor:
    """Binary cross-entropy of 'occurs' and, where it occurs, of 'occurs again'; summed over the types.

    `presence` is [B, K, 2]. Divided by the number of occurrences: the scale of a cross-entropy a sub-task.
    """
    first = functional.binary_cross_entropy_with_logits(
        presence[..., 0], (counts > 0).to(presence.dtype), reduction="none"
    )
    again = functional.binary_cross_entropy_with_logits(
        presence[..., 1], (counts > 1).to(presence.dtype), reduction="none"
    )
    return (first.sum() + (again * (counts > 0)).sum()) / counts.sum().clamp(min=1)


def _mean(values: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over `mask`, zero (with a gradient path) where it is empty."""
    weights = mask.to(values.dtype) if weight is None else mask.to(values.dtype) * weight
    return (torch.where(mask, values, 0.0) * weights).sum() / weights.sum().clamp(min=_EPS)
