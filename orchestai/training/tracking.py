"""Weights & Biases, offline by default: a witness of a training, never a reason for it to fail."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestai.config import TrackingConfig

_log = logging.getLogger(__name__)


class Tracker:
    """One tracked training; a context manager.

    wandb is imported on entry. Whatever it raises, then or later, is logged once and ends the tracking;
    the training goes on.

    Args:
        config: Mode and project.
        name: Name of the training.
        directory: Where offline files go.
        settings: What to record of the training's configuration.
    """

    def __init__(self, config: TrackingConfig, *, name: str, directory: Path, settings: Mapping[str, Any]) -> None:
        self._config = config
        self._name = name
        self._directory = directory
        self._settings = dict(settings)
        self._session: Any = None

    @property
    def active(self) -> bool:
        """Whether wandb is recording."""
        return self._session is not None

    def __enter__(self) -> Self:
        if self._config.wandb_mode == "disabled":
            return self
        try:
            # Otherwise wandb advertises another product on every start, silent or not.
            os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
            import wandb

            self._directory.mkdir(parents=True, exist_ok=True)
            self._session = wandb.init(
                project=self._config.wandb_project,
                name=self._name,
                dir=str(self._directory),
                mode=self._config.wandb_mode,
                config=self._settings,
                settings=wandb.Settings(silent=True, console="off", init_timeout=20),
            )
        except Exception as error:
            self._give_up(error)
        return self

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Record numbers of one step."""
        if self._session is None:
            return
        try:
            self._session.log(dict(values), step=step)
        except Exception as error:
            self._give_up(error)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Record one row of a training's history, nested parts with a slash.

        Rows of the encoder's epochs are left out: wandb's steps only grow, and the planner's begin at 1 again.
        """
        if row.get("stage") == "encoder":
            return
        self.log(flatten(row), step=int(row["epoch"]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        try:
            self._session.finish(exit_code=0 if kind is None else 1)
        except Exception as failure:
            self._give_up(failure)
        self._session = None

    def _give_up(self, error: Exception) -> None:
        self._session = None
        _log.warning("Tracking stops, the training goes on: %s: %s", type(error).__name__, error)


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Numbers of a nested mapping under names such as `validation/types`."""
    flat: dict[str, float] = {}
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}/"))
        elif isinstance(value, int | float):
            flat[name] = float(value)
    return flat
