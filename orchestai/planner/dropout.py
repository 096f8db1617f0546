"""Dropout whose masks are cheap on a CPU.

torch draws a Bernoulli number a unit; on a CPU that costs as much as the whole backward pass of a small network.
Here a unit takes one random byte, eight of which come from one 64-bit draw: the share that is kept is a multiple of
1/256, and what is kept is scaled by exactly that share (Srivastava et al. 2014, inverted as usual), so the
expectation is that of dropout. On a GPU torch's own is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST, _LEVELS = -(2**63), 256
_generator: ContextVar[torch.Generator | None] = ContextVar("dropout_generator", default=None)


class Dropout(nn.Module):
    """Sets a share of the units to zero while training, and scales the others.

    Args:
        share: Share of the units, 0 to 1; rounded to a multiple of 1/256 on a CPU.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        """Return `states`, of any shape, without the dropped units."""
        return drop(states, self.share, training=self.training)

    def extra_repr(self) -> str:
        """Show the share."""
        return f"share={self.share}"


def drop(states: Tensor, share: float, *, training: bool) -> Tensor:
    """Function of `Dropout`.

    Args:
        states: Of any shape.
        share: Share of the units to set to zero.
        training: Nothing is dropped unless true.
    """
    if not training or share <= 0:
        return states
    if states.device.type != "cpu":
        return functional.dropout(states, share)
    kept = min(max(round(_LEVELS * (1 - share)), 1), _LEVELS)
    if kept == _LEVELS:
        return states
    # Compared in numpy and widened as int8: torch takes ten times as long for the one, three times for the other.
    there = torch.from_numpy(random_bytes(states.shape).numpy() < kept).view(torch.int8)
    return states * there.to(states.dtype).mul_(_LEVELS / kept)


def random_bytes(shape: torch.Size) -> Tensor:
    """Uniform bytes (uint8) from the generator of this context, else from torch's own."""
    size = math.prod(shape)
    words = torch.empty((size + 7) // 8, dtype=torch.int64)
    return words.random_(_LEAST, None, generator=_generator.get()).view(torch.uint8)[:size].view(shape)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let all masks that this thread draws meanwhile come from `generator`: threads must not share one."""
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)
