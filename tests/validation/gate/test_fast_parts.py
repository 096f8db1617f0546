"""What was written anew to be fast gives what it replaces gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from orchestai.validation.collapse.distribution_shift import _ranks
from orchestai.validation.descent import OneCycleAdamW
from orchestai.validation.localize.rows import _among
from orchestai.validation.lookup import Curve, Lookup
from orchestai.validation.source import Source

RNG = np.random.default_rng(0)
SORTED = {
    "normal": RNG.standard_normal(31),
    "heavy tails": RNG.pareto(0.3, 129),
    "whole": RNG.integers(0, 50, 40).astype(float),
    "tiny": RNG.standard_normal(129) * 1e-300,
    "huge": np.array([-1e308, 0.0, 1e308]),
    "one": np.array([3.0]),
    "none": np.empty(0),
}


@pytest.mark.parametrize("name", SORTED)
def test_a_lookup_is_a_binary_search_and_a_curve_an_interpolation(name: str) -> None:
    edges = np.unique(SORTED[name])
    spread = float(np.abs(edges).max(initial=1.0))
    beside = [np.nextafter(edges, -np.inf), edges, np.nextafter(edges, np.inf)]
    values = np.concatenate([RNG.standard_normal(3000) * (spread / 8), *beside])
    values = values[np.isfinite(values)]
    assert (Lookup(edges)(values) == np.searchsorted(edges, values, side="right")).all()
    if len(edges):
        heights = np.sort(RNG.standard_normal(len(edges)))
        assert np.allclose(Curve(edges, heights)(values), np.interp(values, edges, heights), atol=1e-9)


def test_descent_is_adamw_under_a_one_cycle_schedule() -> None:
    start, x = torch.randn(5, 4), torch.randn(50, 5)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return (x @ weights).tanh().square().sum()

    mine, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    own = OneCycleAdamW([mine], rate=6e-3, steps=30, decay=0.02)
    adamw = torch.optim.AdamW([theirs], lr=6e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adamw, max_lr=6e-3, total_steps=31, pct_start=0.2)
    for _ in range(30):
        own.zero_grad()
        loss(mine).backward()  # type: ignore[no-untyped-call]
        own.step()
        adamw.zero_grad()
        loss(theirs).backward()  # type: ignore[no-untyped-call]
        adamw.step()
        schedule.step()
    assert not torch.allclose(mine, start, atol=1e-3)
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_ranks_and_membership() -> None:
    scores = RNG.integers(0, 20, 200).astype(np.float32)
    assert (_ranks(scores) == rankdata(scores)).all()
    known = np.unique(RNG.integers(0, 1000, 300).astype(np.uint64))
    asked = RNG.integers(0, 1000, 500).astype(np.uint64)
    assert (_among(known, asked) == np.isin(asked, known)).all()
    assert not _among(known[:0], asked).any()


def test_a_small_file_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,a\n1,2\n3,4\n")
    source = Source(path)
    assert source.names == ["a", "a__2"]
    first = [batch.to_pydict() for _, batch in source.batches()]
    path.write_text("other\n")  # the second pass does not look at it
    assert [batch.to_pydict() for _, batch in source.batches()] == first


def test_a_pass_that_is_left_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "".join(f"{row}\n" for row in range(10)))
    source = Source(path, chunk_rows=4)
    next(source.batches())
    assert sum(batch.num_rows for _, batch in source.batches()) == 10
