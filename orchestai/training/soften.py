"""A policy that is sure of itself tries nothing: it is made less sure before it learns, its first choices unchanged."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from orchestai.planner.selector import RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.environment import WorkflowEnvironment
from orchestai.training.rollout import play

_HALVINGS = 30


def soften(
    policy: RLModelSelector, workers: DescribedWorkers, environment: WorkflowEnvironment, *, entropy: float
) -> float:
    """Scale the policy's logits down until it draws with some entropy; a policy that does so already stays as it is.

    The gradient of a choice is proportional to its probability: what supervised training has ruled out would never be
    tried again.

    Args:
        policy: Changed in place.
        workers: The catalog.
        environment: Whose first decisions are looked at.
        entropy: Mean entropy that is wanted, as a share of that of even chances.

    Returns:
        What the logits were multiplied by, at most 1.
    """
    played, _ = play(policy, workers, environment, np.arange(environment.size), seed=0, greedy=True)
    open_to = played.active & (played.allowed.sum(dim=-1) > 1)
    if not bool(open_to.any()):
        return 1.0
    logits = played.probabilities[open_to].clamp_min(1e-30).log()  # (N, W), up to a constant
    allowed = played.allowed[open_to]
    most = allowed.sum(dim=-1).float().log()

    def share(factor: float) -> float:
        logs = (factor * logits).masked_fill(~allowed, -1e9).log_softmax(dim=-1)
        spread = -(logs.exp() * logs.clamp(min=-50)).sum(dim=-1)
        return float((spread / most).mean())

    if share(1.0) >= entropy:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) >= entropy else (low, middle)
    last = policy.state[-1]
    if not isinstance(last, nn.Linear):
        raise TypeError(f"The last layer of a policy's state must be linear, got {type(last).__name__}.")
    with torch.no_grad():
        last.weight.mul_(low)
        last.bias.mul_(low)
    return low
