"""Experiment tracking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestai.contracts.base import Record


class TrackingConfig(Record):
    """Weights & Biases.

    Attributes:
        wandb_mode: `offline` writes files only, `online` sends them, `disabled` does neither.
        wandb_project: Name of the project there.
    """

    wandb_mode: Literal["offline", "disabled", "online"] = "offline"
    wandb_project: str = Field(default="orchestai", min_length=1)
