"""Torch takes the threads that it is given, and gives them back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from orchestai.embeddings.threads import free_cores, torch_on_free_cores, torch_threads


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)


def running(folder: Path, content: str) -> Path:
    file = folder / "loadavg"
    file.write_text(content, encoding="ascii")
    return file


@pytest.mark.parametrize(
    ("content", "free"),
    [
        ("0.00 0.01 0.05 1/321 4711\n", 4),  # nobody but the one who asks
        ("2.00 0.01 0.05 3/321 4711\n", 2),
        ("9.00 9.00 9.00 12/321 4711\n", 1),
        ("garbled", 4),
        ("", 4),
    ],
)
def test_what_runs_leaves_fewer_cores_but_never_none(tmp_path: Path, content: str, free: int) -> None:
    assert free_cores(running(tmp_path, content)) == free


def test_threads_of_our_own_that_still_spin_take_no_core(tmp_path: Path) -> None:
    file = running(tmp_path, "2.00 0.01 0.05 3/321 4711\n")
    assert free_cores(file, ours=1) == 3
    assert free_cores(file, ours=5) == 4


def test_where_the_system_does_not_say_all_cores_are_free(tmp_path: Path) -> None:
    assert free_cores(tmp_path / "missing") == 4


def test_threads_are_given_back_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before

    def fails() -> None:
        with torch_threads(before + 1):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fails()
    assert torch.get_num_threads() == before
    with torch_on_free_cores():
        assert 1 <= torch.get_num_threads() <= before
    assert torch.get_num_threads() == before
