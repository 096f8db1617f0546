"""The rows of a step in two halves, each with a thread and gradients of its own.

Small networks gain nothing from threads within a product, and a product that waits for a thread that has no core is
slower than one that has none. Two halves meet once a step. They are the same halves, with the same random numbers,
whether there is a second core or not: equal seeds give equal weights whatever the core count.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from orchestai.planner.dropout import drawing_from

N = TypeVar("N", bound=nn.Module)


class Halves(Generic[N]):
    """Computes gradients of a sum of two losses, one a half.

    Args:
        network: Gets the gradients. It must stay on its device, and its weights where they are.
        seed: Of the masks that the halves draw.
    """

    def __init__(self, network: N, seed: int) -> None:
        self._network = network
        self._twin = copy.deepcopy(network)
        for own, shared in zip(self._twin.parameters(), network.parameters(), strict=True):
            own.data = shared.data  # the same weights, other gradients
        self._generators = [torch.Generator().manual_seed(seed * 2 + half) for half in range(2)]
        self._second: ThreadPoolExecutor | None = None
        if _cores() > 1 and next(network.parameters()).device.type == "cpu":
            self._second = ThreadPoolExecutor(1, "half", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        """Ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the second thread."""
        if self._second:
            self._second.shutdown()

    def backward(self, losses: Sequence[Callable[[N], Tensor]]) -> float:
        """Set the network's gradients to those of the sum of the losses; return the sum.

        Args:
            losses: One or two; each is called with a network that has the weights, and called only once.
        """
        self._network.zero_grad(set_to_none=True)
        self._twin.train(self._network.training)
        self._twin.zero_grad(set_to_none=True)
        if len(losses) == 1:
            return self._half(self._network, 0, losses[0])
        if self._second is None:
            values = [self._half(self._network, 0, losses[0]), self._half(self._twin, 1, losses[1])]
        else:
            other = self._second.submit(self._half, self._twin, 1, losses[1])
            try:
                first = self._half(self._network, 0, losses[0])
            finally:
                other.exception()  # also waits: nobody may touch the weights before both are done
            values = [first, other.result()]
        for own, found in zip(self._network.parameters(), self._twin.parameters(), strict=True):
            if own.grad is None:
                own.grad = found.grad
            elif found.grad is not None:
                own.grad.add_(found.grad)
        return sum(values)

    def _half(self, network: N, half: int, loss: Callable[[N], Tensor]) -> float:
        with drawing_from(self._generators[half]):
            value = loss(network)
        value.backward()
        return float(value.detach())


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
