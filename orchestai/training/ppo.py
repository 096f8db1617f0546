"""One round of proximal policy optimisation, arXiv:1707.06347."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from orchestai.config import Phase2Config
from orchestai.errors import DataError
from orchestai.planner.selector import RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.gae import baseline_of_the_same, counterfactual_advantages, generalised_advantages
from orchestai.training.rollout import Trajectories


class Decisions(NamedTuple):
    """N decisions, out of their episodes."""

    states: Tensor  # (N, D)
    allowed: Tensor  # (N, W)
    prior: Tensor  # (N, W)
    actions: Tensor  # (N,)
    log_probs: Tensor  # (N,)
    advantages: Tensor  # (N,)
    returns: Tensor  # (N,)


def judge(trajectories: Trajectories, config: Phase2Config, *, scale: float) -> Decisions:
    """Say what each decision was worth.

    Args:
        trajectories: What was done.
        config: Which advantage, and whether it is normalised.
        scale: What rewards are divided by.
    """
    active = trajectories.active
    rewards = trajectories.rewards * active / scale
    advantages, returns = generalised_advantages(
        rewards, trajectories.values, active, discount=config.discount, trace=config.trace
    )
    if config.advantage == "same_workflow":
        own = baseline_of_the_same(rewards.sum(dim=1), config.repeats)
        advantages = own[:, None].expand_as(rewards)
    elif config.advantage == "counterfactual" and trajectories.swapped is not None:
        advantages = counterfactual_advantages(
            trajectories.swapped / scale, trajectories.probabilities, trajectories.actions
        )
    chosen = advantages[active]
    if config.normalise and len(chosen) > 1:
        chosen = (chosen - chosen.mean()) / (chosen.std() + 1e-8)
    return Decisions(
        trajectories.states[active],
        trajectories.allowed[active],
        trajectories.prior[active],
        trajectories.actions[active],
        trajectories.log_probs[active],
        chosen,
        returns[active],
    )


def learn(
    policy: RLModelSelector,
    workers: DescribedWorkers,
    decisions: Decisions,
    optimizer: torch.optim.Optimizer,
    config: Phase2Config,
    *,
    entropy_weight: float,
    generator: torch.Generator,
) -> dict[str, float]:
    """Improve the policy on one round's decisions; returns the means of what was measured on the way.

    Raises:
        DataError: A loss is not finite.
    """
    policy.train()
    sums: dict[str, float] = {}
    steps = 0
    for _ in range(config.epochs):
        order = torch.randperm(len(decisions.actions), generator=generator)
        for part in order.chunk(config.minibatches):
            loss, numbers = _loss(
                policy, workers, Decisions(*(each[part] for each in decisions)), config, entropy_weight
            )
            if not math.isfinite(numbers["loss"]):
                named = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
                raise DataError(
                    f"The loss of PPO is {numbers['loss']}: {named}.",
                    remedy="Lower learning_rate in training/phase2.yml, or look for rewards that are not finite.",
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), config.grad_clip)
            optimizer.step()
            steps += 1
            for name, value in numbers.items():
                sums[name] = sums.get(name, 0.0) + value
            if numbers["kl"] > config.max_kl:
                return {name: value / steps for name, value in sums.items()} | {"steps": float(steps)}
    return {name: value / steps for name, value in sums.items()} | {"steps": float(steps)}


def _loss(
    policy: RLModelSelector,
    workers: DescribedWorkers,
    decisions: Decisions,
    config: Phase2Config,
    entropy_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    selection = policy(decisions.states, workers, decisions.allowed, decisions.prior)
    logs = selection.action_logits.log_softmax(dim=-1)  # (N, W)
    ratio_log = logs.gather(-1, decisions.actions[:, None]).squeeze(-1) - decisions.log_probs  # (N,)
    ratio = ratio_log.exp()
    kept = ratio.clamp(1 - config.clip, 1 + config.clip)
    # arXiv:1707.06347 eq. 7
    surrogate = torch.minimum(ratio * decisions.advantages, kept * decisions.advantages).mean()
    value = 0.5 * (selection.value.squeeze(-1) - decisions.returns).square().mean()
    entropy = -(selection.action_probs * logs.clamp(min=-50)).sum(dim=-1).mean()
    loss = -surrogate + config.value_weight * value - entropy_weight * entropy
    with torch.no_grad():
        numbers = {
            "loss": float(loss),
            "surrogate": float(surrogate),
            "value_loss": float(value),
            "entropy": float(entropy),
            # Unbiased and never negative: http://joschu.net/blog/kl-approx.html
            "kl": float((ratio - 1 - ratio_log).mean()),
            "clipped": float(((ratio - 1).abs() > config.clip).float().mean()),
        }
    return loss, numbers
