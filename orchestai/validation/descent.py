"""AdamW under a one-cycle schedule, in twenty lines.

What `torch.optim.AdamW` and `OneCycleLR` with their defaults do, without importing PyTorch's compiler, as the first
optimizer of a process does: that takes longer than the small networks here are trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

_BETA = 0.999
_EPSILON = 1e-8
_MOMENTUM = (0.85, 0.95)
_FIRST, _LAST = 25.0, 25.0e4
"""The first and the last rate are the largest one divided by these."""


class OneCycleAdamW:
    """Loshchilov & Hutter 2019 (arXiv:1711.05101) under the schedule of Smith & Topin 2018 (arXiv:1708.07120).

    The rate rises in the first fifth of the steps and then falls, along half cosines; the momentum falls and rises.

    Args:
        parameters: What is learned.
        rate: Largest learning rate.
        steps: How often `step` will be called.
        decay: Weight decay.
        rise: Share of the steps in which the rate rises.
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, rate: float, steps: int, decay: float, rise: float = 0.2
    ) -> None:
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(each) for each in self._parameters]
        self._squares = [torch.zeros_like(each) for each in self._parameters]
        self._rate, self._decay = rate, decay
        self._top, self._end = rise * (steps + 1) - 1, float(steps)
        self._done = 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for each in self._parameters:
            each.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Follow the gradients once."""
        rate, momentum = self._schedule(self._done)
        self._done += 1
        first, second = 1 - momentum**self._done, 1 - _BETA**self._done
        for each, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            if each.grad is None:
                continue
            each.mul_(1 - rate * self._decay)
            mean.lerp_(each.grad, 1 - momentum)
            square.mul_(_BETA).addcmul_(each.grad, each.grad, value=1 - _BETA)
            each.addcdiv_(mean, (square / second).sqrt_().add_(_EPSILON), value=-rate / first)

    def _schedule(self, step: int) -> tuple[float, float]:
        low, high = self._rate / _FIRST, self._rate / _LAST
        if step <= self._top:
            share = step / self._top
            return _cosine(low, self._rate, share), _cosine(_MOMENTUM[1], _MOMENTUM[0], share)
        share = min((step - self._top) / (self._end - self._top), 1.0)
        return _cosine(self._rate, high, share), _cosine(_MOMENTUM[0], _MOMENTUM[1], share)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
