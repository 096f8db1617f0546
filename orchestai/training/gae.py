"""Advantages: generalised over time, against the same workflow, or against what the other workers would have done."""

from __future__ import annotations

from torch import Tensor


def generalised_advantages(
    rewards: Tensor, values: Tensor, active: Tensor, *, discount: float, trace: float
) -> tuple[Tensor, Tensor]:
    """Return advantages and returns of episodes that end within the tensor.

    GAE, arXiv:1506.02438 eq. 16: `A_t = sum_l (discount * trace)^l delta_(t+l)` with
    `delta_t = r_t + discount * V_(t+1) - V_t`; the value after the last decision is 0, because every workflow ends.

    Args:
        rewards: [E, S].
        values: [E, S] critic's values of the states in which the decisions were made.
        active: [E, S] false after the end.
        discount: Gamma.
        trace: Lambda: 0 trusts the critic, 1 the returns.

    Returns:
        Advantages and returns, each [E, S] and 0 where not active; `returns = advantages + values`.
    """
    advantages = rewards.new_zeros(rewards.shape)
    following = rewards.new_zeros(len(rewards))
    value = rewards.new_zeros(len(rewards))
    for step in reversed(range(rewards.shape[1])):
        here = active[:, step].to(rewards.dtype)
        delta = rewards[:, step] + discount * value - values[:, step]
        following = here * (delta + discount * trace * following)
        value = here * values[:, step]
        advantages[:, step] = following
    return advantages, (advantages + values) * active


def baseline_of_the_same(returns: Tensor, repeats: int) -> Tensor:
    """Return [E] each episode's return less the mean of the other episodes of the same workflow.

    Leave-one-out (arXiv:1402.4842 and others): the baseline does not depend on the episode's own actions.

    Args:
        returns: [E] whole returns, `repeats` neighbours belong to one workflow.
        repeats: Episodes a workflow; at least 2.
    """
    together = returns.view(-1, repeats)
    others = (together.sum(dim=1, keepdim=True) - together) / (repeats - 1)
    return (together - others).flatten()


def counterfactual_advantages(swapped: Tensor, probabilities: Tensor, actions: Tensor) -> Tensor:
    """Return [E, S] what a choice was worth against the policy's mean choice, all other choices as they were.

    The counterfactual baseline of arXiv:1705.08926 eq. 4, with known returns in the place of a critic. What a later
    decision would have made of another choice here is left out.

    Args:
        swapped: [E, S, W] return of the whole episode, had this sub-task been done by that worker.
        probabilities: [E, S, W] of the policy that acted.
        actions: [E, S] what was chosen.
    """
    chosen = swapped.gather(-1, actions[..., None]).squeeze(-1)
    return chosen - (probabilities * swapped).sum(dim=-1)
