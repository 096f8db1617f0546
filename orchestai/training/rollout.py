"""A policy acts in an environment; what it saw, did and earned becomes tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from orchestai.planner.selector import RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.environment import Ended, WorkflowEnvironment
from orchestai.training.workflows import Actions


class Trajectories(NamedTuple):
    """E episodes of at most S decisions; padded ones have `active` false."""

    states: Tensor  # (E, S, D)
    allowed: Tensor  # (E, S, W)
    prior: Tensor  # (E, S, W)
    actions: Tensor  # (E, S)
    log_probs: Tensor  # (E, S) of the policy that acted
    probabilities: Tensor  # (E, S, W) of it
    values: Tensor  # (E, S)
    active: Tensor  # (E, S)
    rewards: Tensor  # (E, S)
    swapped: Tensor | None  # (E, S, W)


def play(
    policy: RLModelSelector,
    workers: DescribedWorkers,
    environment: WorkflowEnvironment,
    rows: Actions,
    *,
    seed: int,
    greedy: bool = False,
    counterfactual: bool = False,
) -> tuple[Trajectories, Ended]:
    """Let the policy do these workflows.

    Args:
        policy: Chooses; dropout is off meanwhile.
        workers: The catalog.
        environment: Where it acts.
        rows: [E] which workflows.
        seed: Of the policy's draws and of the environment's.
        greedy: Take the likeliest worker instead of drawing.
        counterfactual: Ask what the other workers would have come to.
    """
    generator = torch.Generator().manual_seed(seed)
    training = policy.training
    policy.eval()
    environment.reset(rows, seed)
    seen: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for _ in range(environment.steps):
            observation = environment.observe()
            state = torch.from_numpy(np.ascontiguousarray(observation.state))
            allowed, prior = torch.from_numpy(observation.allowed), torch.from_numpy(observation.prior)
            selection = policy(state, workers, allowed, prior)
            probabilities = selection.action_probs
            if greedy:
                action = selection.action_logits.argmax(dim=-1)
            else:
                action = torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
            logs = selection.action_logits.log_softmax(dim=-1)
            taken = logs.gather(-1, action[:, None]).squeeze(-1)
            active = torch.from_numpy(observation.active)
            seen.append((state, allowed, prior, action, taken, probabilities, selection.value.squeeze(-1), active))
            environment.act(action.numpy())
    policy.train(training)
    ended = environment.end(counterfactual=counterfactual)
    states, allowed, prior, actions, log_probs, probabilities, values, active = (
        torch.stack(column, dim=1).clone() for column in zip(*seen, strict=True)
    )
    trajectories = Trajectories(
        states=states,
        allowed=allowed,
        prior=prior,
        actions=actions,
        log_probs=log_probs,
        probabilities=probabilities,
        values=values,
        active=active,
        rewards=torch.from_numpy(ended.rewards).float(),
        swapped=None if ended.swapped is None else torch.from_numpy(ended.swapped).float(),
    )
    return trajectories, ended
