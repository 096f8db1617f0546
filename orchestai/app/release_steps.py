"""Takes the next step of every release: what the sensor, and anything else that keeps a clock, calls."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from orchestai.config import Project

if TYPE_CHECKING:
    from orchestai.registry.release import ReleaseStep


def release_steps(project: Project, *, now: datetime) -> list[ReleaseStep]:
    """Look at each release and carry out what follows; an empty list if none goes on.

    Where no service has a pointer file, there is no registry yet, and none is made by looking.

    Raises:
        RegistryUnreachableError: MLflow does not answer; the services go on with what they have.
        StorageError: A log cannot be read.
    """
    from orchestai.registry import open_registry, read_pointer
    from orchestai.registry.release import step

    if read_pointer(project) is None:
        return []
    registry = open_registry(project)
    canary = project.promotion[project.registry.policy].canary
    logs = project.paths.execution_logs
    return [step(registry, logs, canary, subject=subject, now=now) for subject in registry.state().releases]
