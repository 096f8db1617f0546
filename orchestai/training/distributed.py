"""Several processes train one network: `accelerate launch -m orchestai.cli.main train phase1 ...`.

Data parallelism as in Li et al., arXiv:2006.15704, by hand, because a step here runs several small networks on
rows of different length: each process takes its share of the rows of every batch, gradients are averaged by
rows, and so all processes make the same step. `batch_size` is that of all together: more processes change the
time, not the recipe. Process 0 validates, decides and writes; the others are told. Every term of the loss is a
mean over its own sub-tasks, so averaging by rows gives exactly the loss of one process only where the rows of a
batch are equally long; otherwise it differs as much as two orders of the same rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from orchestai.errors import DataError

T = TypeVar("T")


def is_main_process() -> bool:
    """Say whether this process writes and reports; also true where there is only one."""
    return int(os.environ.get("RANK", "0")) == 0


class Processes:
    """The processes of one training; alone unless a launcher started several.

    Args:
        rank: Number of this process.
        count: How many there are.
        device: Where this one computes; None where it is the only one and may choose.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.count = count
        self.device = device

    @classmethod
    def started(cls, *, cpu: bool = False) -> Processes:
        """Join the processes that a launcher started; without one there is only this.

        Args:
            cpu: Whether to compute on the CPU even where there is a GPU.

        Raises:
            DataError: There are several processes, but `accelerate` is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise DataError(
                "Several processes were started, but `accelerate` is not installed.",
                remedy="Install orchestai[gpu], or start one process.",
            ) from error
        state = PartialState(cpu=cpu)
        return cls(state.process_index, state.num_processes, state.device)

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, rows: Sequence[T]) -> Sequence[T]:
        """Return the rows of a batch that are this process's; they may be none."""
        return rows[self.rank :: self.count] if self.count > 1 else rows

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let process 0 go first, so that the others find what it computed in the cache on disk."""
        if self.count > 1 and not self.main:
            self._wait()
        yield
        if self.count > 1 and self.main:
            self._wait()

    def average(self, network: nn.Module, numbers: Mapping[str, float], rows: int) -> dict[str, float]:
        """Average gradients and numbers over the processes, by rows; in place and as the result.

        A parameter without gradient everywhere stays without; all processes must call it for each step.

        Args:
            network: Its gradients are those of the mean over this process's rows.
            numbers: Means over the same rows; empty where there were none.
            rows: How many.
        """
        if self.count == 1:
            return dict(numbers)
        names: list[str] = self.told(sorted(numbers) if self.main else None)  # process 0 always has rows
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        device = parameters[0].device
        tail = [
            *(float(parameter.grad is not None) for parameter in parameters),
            *(numbers.get(name, 0.0) * rows for name in names),
            float(rows),
        ]
        flat = torch.cat(
            [*(gradient.flatten().float() * rows for gradient in gradients), torch.tensor(tail, device=device)]
        )  # (gradients + presence + numbers + 1)
        flat = self._sum(flat)
        total = flat[-1]
        start = 0
        present = flat[sum(p.numel() for p in parameters) :][: len(parameters)].tolist()
        for parameter, there in zip(parameters, present, strict=True):
            mean = flat[start : start + parameter.numel()].view_as(parameter) / total
            start += parameter.numel()
            parameter.grad = mean.to(parameter.dtype) if there else None
        sums = (flat[-1 - len(names) : -1] / total).tolist()
        return dict(zip(names, sums, strict=True))

    def told(self, value: T | None) -> T:
        """Return what process 0 gives, in every process."""
        if self.count == 1:
            return value  # type: ignore[return-value]
        from accelerate.utils import broadcast_object_list

        held: list[Any] = [value]
        broadcast_object_list(held)
        found: T = held[0]
        return found

    def decided(self, decide: Callable[[], T]) -> T:
        """Let process 0 compute something and tell the others; its error of ours becomes everybody's.

        Without that the others would wait for an answer that never comes.
        """
        if self.count == 1:
            return decide()
        answer: tuple[T | None, str] = (None, "")
        if self.main:
            try:
                answer = (decide(), "")
            except Exception as error:
                self.told((None, f"{type(error).__name__}: {error}"))
                raise
        value, failure = self.told(answer if self.main else None)
        if failure:
            raise DataError(f"Process 0 gave up: {failure}")
        return value  # type: ignore[return-value]

    def seed(self, seed: int) -> int:
        """Return a seed of this process's own for dropout: equal ones would drop the same units of other rows."""
        return seed + self.rank * 7_919

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        from accelerate.utils import reduce

        summed: torch.Tensor = reduce(tensor, reduction="sum")
        return summed

    def _wait(self) -> None:
        from accelerate.utils import wait_for_everyone

        wait_for_everyone()
