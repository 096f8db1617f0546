"""Experiment tracking by Weights & Biases; `dagster-wandb` does not load with current versions of either."""

import dagster as dg
from pydantic import Field

from orchestai.config import Project, TrackingConfig


class WandbResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Says how a training run is tracked: what the project says, unless a field here is set."""

    mode: str | None = Field(
        default=None, description="offline, online or disabled; null: `tracking.wandb_mode` of the project."
    )
    entity_project: str | None = Field(
        default=None, description="Project at Weights & Biases; null: `tracking.wandb_project` of the project."
    )

    def tracking(self, project: Project) -> TrackingConfig:
        """Return the tracking to use for `project`.

        Raises:
            ValidationError: `mode` is none of the three.
        """
        changes = {"wandb_mode": self.mode, "wandb_project": self.entity_project}
        given = {name: value for name, value in changes.items() if value is not None}
        return TrackingConfig.model_validate({**project.tracking.model_dump(), **given})
