"""Where versions of the learned parts are kept."""

from __future__ import annotations

from pydantic import Field

from orchestai.contracts.base import Record


class RegistryConfig(Record):
    """The model registry (MLflow).

    Attributes:
        enabled: Whether a registered champion is served; without one the checkpoint folder is.
        uri: Tracking URI of MLflow; null means SQLite under `paths.data`.
        model: Name of the registered model.
        policy: File of `promotion/` whose gates and canary hold.
        poll_s: Seconds between two looks for a change of what is served.
    """

    enabled: bool = True
    uri: str | None = Field(default=None, min_length=1)
    model: str = Field(default="orchestai", min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    policy: str = Field(default="default", min_length=1)
    poll_s: float = Field(default=1.0, gt=0, le=5)
