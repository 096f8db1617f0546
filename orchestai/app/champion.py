"""Which planner serves: what a new one is compared with."""

from __future__ import annotations

from pathlib import Path

from orchestai.app.places import previous_phase1_folder
from orchestai.config import Project


def champion_checkpoint(project: Project) -> Path | None:
    """Return the planner's checkpoint that the newest one would replace; None if there is none."""
    folder = previous_phase1_folder(project)
    return folder if (folder / "manifest.json").exists() else None
