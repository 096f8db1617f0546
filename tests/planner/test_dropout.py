from __future__ import annotations

import threading

import pytest
import torch

from orchestai.planner.dropout import Dropout, drawing_from, drop, random_bytes

SHAPE = (100, 1003)


def masked(share: float, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return drop(torch.ones(SHAPE), share, training=True)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_share_is_dropped_and_the_expectation_stays(share: float) -> None:
    kept = round(256 * (1 - share)) / 256
    found = masked(share)
    assert found.unique().tolist() == pytest.approx([0.0, 1 / kept])
    # 100,300 independent units: five standard deviations of the share are below .01.
    assert float((found > 0).float().mean()) == pytest.approx(kept, abs=0.01)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.02)


def test_every_one_of_the_eight_bytes_of_a_draw_is_uniform() -> None:
    torch.manual_seed(1)
    lanes = random_bytes(torch.Size([50_000, 8])).float()
    # 255 / 2, standard error 73.9 / sqrt(50,000) = .33
    assert lanes.mean(dim=0).sub(127.5).abs().max() < 1.7
    assert lanes.amin() == 0
    assert lanes.amax() == 255


def test_the_gradient_goes_where_the_units_stayed() -> None:
    states = torch.ones(SHAPE, requires_grad=True)
    torch.manual_seed(2)
    found = drop(states, 0.25, training=True)
    found.sum().backward()
    assert states.grad is not None
    assert torch.equal(states.grad, found.detach())


def test_nothing_is_dropped_without_need() -> None:
    states = torch.ones(3)
    assert drop(states, 0.5, training=False) is states
    assert drop(states, 0.0, training=True) is states
    assert drop(states, 1 / 1000, training=True) is states  # less than half of 1/256
    assert Dropout(0.5).eval()(states) is states
    assert Dropout(0.5).train()(torch.ones(SHAPE)).eq(0).any()


def test_equal_seeds_give_equal_masks_also_in_a_thread_of_its_own() -> None:
    assert torch.equal(masked(0.2, 5), masked(0.2, 5))
    assert not torch.equal(masked(0.2, 5), masked(0.2, 6))
    before = torch.random.get_rng_state()
    found: list[torch.Tensor] = []

    def work() -> None:
        with drawing_from(torch.Generator().manual_seed(5)):
            found.append(drop(torch.ones(SHAPE), 0.2, training=True))

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert torch.equal(found[0], found[1])
    assert torch.equal(torch.random.get_rng_state(), before)
