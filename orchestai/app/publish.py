"""A new checkpoint takes the place of the one that plans are made with: in one step, and the old one stays whole.

`phase1` is a link to one of the folders in `phase1.versions`, named by what they hold. A planner that starts reads the
version that the link named at that moment; `phase1.previous` is a link as well.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from orchestai.app.places import phase1_folder, previous_phase1_folder
from orchestai.config import Project
from orchestai.errors import CheckpointError, StorageError


def training_place(project: Project, out: Path) -> Path:
    """Return where to train what is to become `out`: beside it, if plans are made with `out`."""
    if out.absolute() == phase1_folder(project).absolute():
        return out.with_name(f"{out.name}.next")
    return out


def publish(project: Project, made: Path) -> None:
    """Let plans be made with the checkpoint in `made` from now on; the folder is moved to the versions.

    Raises:
        CheckpointError: There is no checkpoint in `made`.
        StorageError: The folders cannot be moved.
    """
    from orchestai.checkpoint import read_manifest

    current, previous = phase1_folder(project), previous_phase1_folder(project)
    versions = current.with_name(f"{current.name}.versions")
    try:
        versions.mkdir(parents=True, exist_ok=True)
        old = _as_version(current, versions)
        new = versions / read_manifest(made).digest[:12]
        if new.exists():  # the very same weights, trained again
            shutil.rmtree(made)
        else:
            made.rename(new)
        _point(current, new)
        if old is not None and old != new:
            if previous.is_dir() and not previous.is_symlink():  # as earlier releases left it
                shutil.rmtree(previous)
            _point(previous, old)
        kept = {link.resolve() for link in (current, previous) if link.exists()}
        for folder in versions.iterdir():
            if folder.resolve() not in kept:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"The new checkpoint cannot take the place of {current}: {error}.",
            path=str(current),
            remedy="Free some space, or see to the rights of the folder; the old checkpoint is still there.",
        ) from error


def _as_version(current: Path, versions: Path) -> Path | None:
    """Return the version that `current` names; a plain folder, as earlier releases left it, becomes one."""
    from orchestai.checkpoint import read_manifest

    if current.is_symlink():
        return current.resolve() if current.exists() else None
    if not current.exists():
        return None
    try:
        version = versions / read_manifest(current).digest[:12]
    except CheckpointError:  # broken: nothing to go back to
        shutil.rmtree(current)
        return None
    if version.exists():
        shutil.rmtree(version)
    current.rename(version)
    _point(current, version)
    return version


def _point(link: Path, target: Path) -> None:
    """Make `link` name `target`: a reader sees the old target or the new one."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path(target.parent.name) / target.name)
    temporary.replace(link)
