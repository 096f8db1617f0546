"""RLModelSelector: policy and value over one sub-task's state; workers are described, not numbered."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from orchestai.contracts import Modality, TaskCatalog, WorkerCatalog
from orchestai.errors import NoWorkerError
from orchestai.planner.dropout import Dropout
from orchestai.planner.shapes import DescribedWorkers, SelectedAction, Selection

PLANNED = (Modality.CHAT, Modality.VISION, Modality.AUDIO)
"""What sub-tasks may need; embeddings are called by other means, and trained weights have this width."""

FACTS = 4 + len(PLANNED)
_REFUSED = -1e9


class RLModelSelector(nn.Module):
    """Scores state = concat(instruction H, node) against every worker's description and facts.

    Args:
        hidden_size: Width H of the encoder.
        node_size: Width of a node embedding.
        size: Width of the space in which states meet workers.
        dropout: Share of activations dropped.
    """

    def __init__(self, *, hidden_size: int, node_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.state_size = hidden_size + node_size
        self.state = nn.Sequential(
            nn.Linear(self.state_size, 2 * size), nn.GELU(), Dropout(dropout), nn.Linear(2 * size, size)
        )
        self.worker = nn.Sequential(nn.Linear(hidden_size + FACTS, size), nn.GELU(), nn.Linear(size, size))
        self.critic = nn.Sequential(nn.Linear(self.state_size, size), nn.Tanh(), nn.Linear(size, 1))

    def forward(
        self,
        state: Tensor,
        workers: DescribedWorkers,
        allowed: Tensor | None = None,
        prior: Tensor | None = None,
    ) -> Selection:
        """Return logits, probabilities and value.

        Args:
            state: [N, H + node size].
            workers: The catalog.
            allowed: [N, W] false where a worker cannot do the sub-task; None allows all.
            prior: [N, W] added to the logits: what is known of the workers from elsewhere.
        """
        known = self.worker(torch.cat([workers.descriptions, workers.facts], dim=-1))  # (W, D)
        logits = self.state(state) @ known.T / math.sqrt(known.shape[-1])  # (N, W)
        if prior is not None:
            logits = logits + prior
        if allowed is not None:
            logits = logits.masked_fill(~allowed, _REFUSED)
        return Selection(action_logits=logits, action_probs=logits.softmax(dim=-1), value=self.critic(state))

    def select_action(
        self,
        state: Tensor,
        workers: DescribedWorkers,
        allowed: Tensor | None = None,
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
    ) -> SelectedAction:
        """Draw one worker a state, or take the likeliest.

        Raises:
            NoWorkerError: A state has no allowed worker.
        """
        if allowed is not None and not bool(allowed.any(dim=-1).all()):
            raise NoWorkerError("(unknown)", "(masked)")
        selection = self(state, workers, allowed)
        policy = Categorical(logits=selection.action_logits)
        if greedy:
            action = selection.action_logits.argmax(dim=-1)
        else:
            action = torch.multinomial(selection.action_probs, 1, generator=generator).squeeze(-1)
        return SelectedAction(action=action, log_prob=policy.log_prob(action), entropy=policy.entropy())


def worker_facts(workers: WorkerCatalog) -> Tensor:
    """Facts [W, FACTS]: prices and speed on a log scale, whether simulated, modalities."""
    rows = [
        [
            math.log1p(worker.input_usd_per_mtok),
            math.log1p(worker.output_usd_per_mtok),
            math.log1p(worker.typical_latency_ms) / 10,
            float(worker.simulated),
            *(float(modality in worker.modalities) for modality in PLANNED),
        ]
        for worker in workers.profiles()
    ]
    return torch.tensor(rows)


def able_workers(workers: WorkerCatalog, tasks: TaskCatalog) -> Tensor:
    """[W, K] true where the worker answers the call that the type needs."""
    return torch.tensor([[kind.modality in worker.modalities for kind in tasks.types] for worker in workers.profiles()])
