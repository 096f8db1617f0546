"""The state of a training after each epoch: one file, replaced atomically, never pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from orchestai.errors import StorageError

_FILE = "state.safetensors"


@dataclass
class TrainingState:
    """How far a training is.

    Attributes:
        epoch: Epochs done.
        best_epoch: The epoch whose averaged weights validated best.
        best_score: Its score; higher is better.
        stale: Epochs since then.
        seconds: Time spent in them.
        history: One row an epoch.
        best: The weights of the best epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -float("inf")
    stale: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def see(self, row: dict[str, Any], network: nn.Module) -> None:
        """Take in one epoch; keep the weights if it is the best so far."""
        self.epoch = row["epoch"]
        self.seconds += row["seconds"]
        self.history.append(row)
        score = score_of(row)
        if score > self.best_score or not self.best:
            self.best_epoch, self.best_score, self.stale = self.epoch, score, 0
            self.best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        else:
            self.stale += 1


def score_of(row: dict[str, Any]) -> float:
    """Agreement with the validation plans, less a little loss: agreement alone has steps and ties."""
    if not row["metrics"]:
        return -float(row["validation_loss"])
    return float(row["metrics"]["agreement"]) - 0.05 * float(row["validation_loss"])


class Averages:
    """Exponential moving average of the weights (Polyak & Juditsky 1992), with a warm-up of the decay.

    Args:
        network: Whose weights.
        decay: Share that is kept a step, in the long run.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            now = network.state_dict()
            torch._foreach_lerp_([self.tensors[name] for name in now], list(now.values()), 1 - decay)

    @contextmanager
    def swapped_in(self, network: nn.Module) -> Iterator[None]:
        """Let the network have the averaged weights for a while."""
        own = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(self.tensors)
        try:
            yield
        finally:
            network.load_state_dict(own)


def save_state(
    folder: Path,
    fingerprint: str,
    state: TrainingState,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: Averages,
) -> None:
    """Write the state; a kill at any moment leaves the old one or the new one.

    Raises:
        StorageError: It cannot be written.
    """
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in averages.tensors.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    facts = {
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "stale": state.stale,
        "seconds": state.seconds,
        "history": state.history,
        "average_steps": averages.steps,
    }
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    temporary = folder / f"{_FILE}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(plain, temporary, metadata={"fingerprint": fingerprint, "facts": json.dumps(facts)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(folder / _FILE)
    except (OSError, SafetensorError) as error:  # the latter is what a full disk is to safetensors
        with suppress(OSError):
            temporary.unlink(missing_ok=True)  # half a file would keep the disk full
        raise StorageError(
            f"The training's state cannot be written: {error}.",
            path=str(folder),
            remedy="Free some space, or choose another output folder.",
        ) from error


def load_state(
    folder: Path,
    fingerprint: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    averages: Averages,
) -> TrainingState | None:
    """Put a saved state into network, optimizer and averages; None when there is none that fits."""
    try:
        with safe_open(folder / _FILE, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("fingerprint") != fingerprint:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        facts = json.loads(metadata["facts"])
    except (OSError, SafetensorError, ValueError, KeyError):
        return None
    device = next(network.parameters()).device

    def part(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor.to(device) for name, tensor in tensors.items() if name.startswith(prefix)
        }

    network.load_state_dict(part("network."))
    averages.tensors = part("average.")
    averages.steps = facts.pop("average_steps")
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            moments.setdefault(int(index), {})[key] = tensor
    whole = optimizer.state_dict()
    whole["state"] = moments
    optimizer.load_state_dict(whole)
    return TrainingState(**facts, best=part("best."))


def discard_state(folder: Path) -> None:
    """Remove the state of a training that is done."""
    shutil.rmtree(folder, ignore_errors=True)
