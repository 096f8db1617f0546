from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from orchestai.planner.dropout import Dropout
from orchestai.training import halves as module
from orchestai.training.halves import Halves

ROWS = torch.arange(12.0).reshape(4, 3) / 10


def network(share: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), Dropout(share), nn.Linear(5, 1)).train()


def loss_of(rows: Tensor) -> Callable[[nn.Sequential], Tensor]:
    return lambda net: net(rows).square().sum()


def gradients(net: nn.Module) -> list[Tensor]:
    found = [parameter.grad for parameter in net.parameters()]
    assert all(one is not None for one in found)
    return [one.clone() for one in found if one is not None]


def test_two_halves_have_the_gradients_of_the_whole() -> None:
    whole, split = network(), network()
    loss = loss_of(ROWS)(whole)
    loss.backward()
    with Halves(split, 0) as both:
        value = both.backward([loss_of(ROWS[:3]), loss_of(ROWS[3:])])
        assert value == pytest.approx(float(loss.detach()), rel=1e-6)
        for expected, found in zip(gradients(whole), gradients(split), strict=True):
            torch.testing.assert_close(found, expected)
        # The second call starts from nothing, sees changed weights, and one part is enough.
        with torch.no_grad():
            for parameter in [*whole.parameters(), *split.parameters()]:
                parameter.mul_(2)
        whole.zero_grad()
        loss_of(ROWS)(whole).backward()
        both.backward([loss_of(ROWS[:1]), loss_of(ROWS[1:])])
        for expected, found in zip(gradients(whole), gradients(split), strict=True):
            torch.testing.assert_close(found, expected)
        both.backward([loss_of(ROWS)])
        for expected, found in zip(gradients(whole), gradients(split), strict=True):
            torch.testing.assert_close(found, expected)


def test_masks_are_the_same_whatever_the_core_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(cores: int, seed: int) -> list[Tensor]:
        monkeypatch.setattr(module, "_cores", lambda: cores)
        net = network(0.5)
        with Halves(net, seed) as both:
            for _ in range(3):
                both.backward([loss_of(ROWS[:2]), loss_of(ROWS[2:])])
        return gradients(net)

    expected = run(1, 3)
    assert all(torch.equal(a, b) for a, b in zip(run(2, 3), expected, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(run(2, 4), expected, strict=True))


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_of_either_half_is_raised(monkeypatch: pytest.MonkeyPatch, cores: int, broken: int) -> None:
    monkeypatch.setattr(module, "_cores", lambda: cores)

    def fail(net: nn.Sequential) -> Tensor:
        raise ValueError("no such row")

    losses = [loss_of(ROWS[:2]), loss_of(ROWS[2:])]
    losses[broken] = fail
    with Halves(network(), 0) as both, pytest.raises(ValueError, match="no such row"):
        both.backward(losses)
