"""Two processes on one toy: the loss of one process, and one checkpoint."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from orchestai.checkpoint import load_checkpoint
from orchestai.errors import DataError
from orchestai.training.distributed import Processes, is_main_process

ROOT = Path(__file__).parents[2]
_SCRIPT = """
import json, os, sys
from pathlib import Path
from orchestai.config import Phase1Config, PlannerConfig
from orchestai.training import phase1
from tests.planner.toys import TASKS, WORKERS, WordEncoder, toy_examples

out = Path(sys.argv[1])
writes, seen = [], []
save = phase1.save_checkpoint
phase1.save_checkpoint = lambda *a, **k: (writes.append(1), save(*a, **k))[1]
result = phase1.train(
    Phase1Config(epochs=4, learning_rate=3e-4, seed=3, dropout=0.0, device="cpu", batch_size=16), toy_examples(),
    tasks=TASKS, workers=WORKERS, encoder=WordEncoder(), out=out, on_epoch=lambda row: seen.append(row["epoch"]),
    planner=PlannerConfig(gnn="sage", subtask_size=32, node_size=16))
told = {"losses": [row["train_loss"] for row in result.history], "writes": len(writes), "seen": seen,
        "metrics": result.metrics}
out.with_name(f"told-{os.environ.get('RANK', 'alone')}.json").write_text(json.dumps(told))
"""


def train(tmp_path: Path, name: str, *launcher: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *launcher, str(script), str(folder / "ck")],
        check=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=280,
    )
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    launch = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    settings = ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(free_port()))
    alone = train(tmp_path, "one")
    together = train(tmp_path, "two", *launch, *settings)
    one = json.loads((alone / "told-alone.json").read_text())
    main, other = (json.loads((together / f"told-{rank}.json").read_text()) for rank in (0, 1))

    assert main["losses"] == other["losses"], "all processes see the same numbers"
    # Means over sub-tasks within each share differ a little from means over the whole batch.
    assert main["losses"] == pytest.approx(one["losses"], rel=0.05)
    assert main["losses"][-1] < 0.6 * main["losses"][0]
    assert main["metrics"] == other["metrics"]
    assert (main["writes"], other["writes"]) == (1, 0)
    assert (main["seen"], other["seen"]) == ([1, 2, 3, 4], [])
    assert load_checkpoint(together / "ck").manifest.kind == "phase1"
    assert sorted(path.name for path in together.glob("ck*")) == ["ck"]


def test_averages_are_by_rows_and_absent_gradients_stay_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 0 had 3 rows, process 1 had 1: the sum over both is put in where the network would ask."""
    network = torch.nn.Linear(1, 1)
    network.weight.grad = torch.tensor([[2.0]])
    processes = Processes(0, 2, torch.device("cpu"))
    other = torch.tensor([6.0 * 1, 0.0, 1.0, 0.0, 5.0 * 1, 1.0])  # weight, bias, presence of both, loss, rows
    monkeypatch.setattr(processes, "told", lambda names: names)
    monkeypatch.setattr(processes, "_sum", lambda flat: flat + other)

    assert processes.average(network, {"loss": 1.0}, 3) == {"loss": pytest.approx((3 * 1.0 + 5.0) / 4)}
    assert network.weight.grad is not None
    assert network.weight.grad.item() == pytest.approx((3 * 2.0 + 6.0) / 4)
    assert network.bias.grad is None


def test_rows_are_shared_out_without_loss() -> None:
    rows = list(range(7))
    shares = [list(Processes(rank, 3).share(rows)) for rank in range(3)]
    assert sorted(row for share in shares for row in share) == rows
    assert Processes().share(rows) is rows
    assert Processes(2, 3).share([1]) == []


def test_alone_nothing_is_asked_of_anybody() -> None:
    alone = Processes.started()
    assert (alone.main, alone.count, alone.device, alone.seed(5)) == (True, 1, None, 5)
    assert alone.average(torch.nn.Linear(1, 1), {"loss": 2.0}, 4) == {"loss": 2.0}
    assert alone.decided(lambda: 3) == 3


def test_without_accelerate_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(DataError, match="`accelerate` is not installed"):
        Processes.started()


def test_the_first_process_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert is_main_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_main_process()
