from __future__ import annotations

import pytest

from orchestai.contracts import StepPlan
from orchestai.errors import InputError


def plan(edges: tuple[tuple[int, int], ...], durations: tuple[float, ...] | None = None) -> StepPlan:
    return StepPlan(id="p", goal="g", steps=("a", "b", "c"), edges=edges, durations_s=durations)


def test_edges_may_point_backwards() -> None:
    assert plan(((2, 0), (0, 1))).edges == ((2, 0), (0, 1))


@pytest.mark.parametrize("edges", [((0, 0),), ((0, 1), (1, 0)), ((0, 1), (1, 2), (2, 0))])
def test_cycles_are_refused(edges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(InputError, match="cycle"):
        plan(edges)


def test_edges_and_durations_must_fit() -> None:
    with pytest.raises(InputError, match="does not exist"):
        plan(((0, 3),))
    with pytest.raises(InputError, match="3 steps but 2 durations"):
        plan((), (1.0, 2.0))
