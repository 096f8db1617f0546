"""Experiment tracking by Weights & Biases; `dagster-wandb` does not load with current versions of either."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from orchestai.config import Project, TrackingConfig

if TYPE_CHECKING:
    from orchestai.training.tracking import Tracker


class WandbResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Says how a training is tracked: what the project says, unless a field here is set."""

    mode: str | None = Field(
        default=None, description="offline, online or disabled; null: `tracking.wandb_mode` of the project."
    )
    tracking_project: str | None = Field(
        default=None, description="Project at Weights & Biases; null: `tracking.wandb_project` of the project."
    )

    def tracking(self, project: Project) -> TrackingConfig:
        """Return the tracking to use for `project`.

        Raises:
            ValidationError: `mode` is none of the three.
        """
        changes = {"wandb_mode": self.mode, "wandb_project": self.tracking_project}
        given = {name: value for name, value in changes.items() if value is not None}
        return TrackingConfig.model_validate({**project.tracking.model_dump(), **given})

    def tracker(self, project: Project, *, name: str, run_id: str, settings: Mapping[str, Any]) -> "Tracker":
        """Return the tracker of one training; its files lie in a folder of their own."""
        from orchestai.training.tracking import Tracker

        folder = _folder(project, run_id)
        return Tracker(self.tracking(project), name=name, directory=folder, settings=settings)

    def tracked_path(self, project: Project, run_id: str) -> Path | None:
        """Return what was recorded of a training, for `wandb sync`; None if nothing was."""
        return next(iter(sorted(_folder(project, run_id).glob("wandb/*run-*"))), None)


def _folder(project: Project, run_id: str) -> Path:
    return project.home / "wandb" / run_id
