"""Which planner serves: what a new one is compared with."""

from __future__ import annotations

from pathlib import Path

from orchestai.app.places import previous_phase1_folder
from orchestai.config import Project
from orchestai.registry import read_pointer


def champion_checkpoint(project: Project) -> Path | None:
    """Return the planner's checkpoint that the newest one would replace; None if there is none.

    That of the registry's champion, or without a registry the one that stood where the newest stands now.

    Raises:
        DataError: The pointer file of the registry is garbled.
    """
    pointer = read_pointer(project) if project.registry.enabled else None
    if pointer is not None and pointer.champion is not None:
        folder = pointer.champion.folder / "phase1"
    else:
        folder = previous_phase1_folder(project)
    return folder if (folder / "manifest.json").exists() else None
