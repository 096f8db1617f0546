"""Bundles: checkpoints that belong together, copied into an immutable folder named by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from orchestai.checkpoint.manifest import Manifest
from orchestai.checkpoint.verify import MANIFEST, verify_checkpoint
from orchestai.errors import CheckpointError, StorageError

PARTS = ("phase1", "phase2", "router")
"""Checkpoints of a bundle, by the names of their folders."""

VERSIONS = "versions"
"""Folder of the bundles beside the checkpoints."""

_TRIES = 3


def bundle_folder(checkpoints: Path, digest: str) -> Path:
    """Return where the bundle with this content lies."""
    return checkpoints / VERSIONS / digest[:16]


def bundle_digest(parts: Mapping[str, str]) -> str:
    """Return the identity of a bundle: the hash over the digests of its parts."""
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(parts.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def verify_bundle(folder: Path) -> dict[str, Manifest]:
    """Check every part of a bundle, and return their manifests.

    Raises:
        CheckpointError: A part is damaged, or there is none.
    """
    found = {name: verify_checkpoint(folder / name) for name in PARTS if (folder / name / MANIFEST).exists()}
    if not found:
        raise CheckpointError(f"There is no checkpoint in {folder}.", remedy="Train one (orchestai train).")
    return found


def make_bundle(checkpoints: Path, home: Path | None = None) -> tuple[Path, dict[str, Manifest]]:
    """Copy what was trained into an immutable folder; the same content is copied once.

    The folder is whole or absent: it is filled under another name, checked against the manifests, forced to disk
    and renamed.

    Args:
        checkpoints: Folder with `phase1`, `phase2`, `router`, as far as they are there.
        home: Folder of the project's checkpoints, which has the versions; the same folder if not given.

    Returns:
        The bundle's folder and the manifests of its parts.

    Raises:
        CheckpointError: A checkpoint is half-written or damaged.
        StorageError: The copy cannot be written.
    """
    for tried in range(1, _TRIES + 1):
        found = verify_bundle(checkpoints)
        folder = bundle_folder(home or checkpoints, bundle_digest({name: each.digest for name, each in found.items()}))
        if folder.exists():
            return folder, verify_bundle(folder)
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            for name in found:
                shutil.copytree(checkpoints / name, temporary / name)
            copied = verify_bundle(temporary)
            if {name: each.digest for name, each in copied.items()} == {n: e.digest for n, e in found.items()}:
                _settle(temporary, folder)
                return folder, copied
        except CheckpointError:
            if tried == _TRIES:  # a training that ends meanwhile swaps the folder: try again with the new one
                raise
        except (OSError, shutil.Error) as error:
            raise StorageError(
                f"The version cannot be written: {error}.",
                path=str(folder),
                remedy="Free some space, or name another folder.",
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    raise CheckpointError(
        f"The checkpoints in {checkpoints} change while they are copied.", remedy="Wait for the training to end."
    )


def _settle(temporary: Path, folder: Path) -> None:
    for path in sorted(temporary.rglob("*"), reverse=True):
        if path.is_file():
            path.chmod(0o444)
        _sync(path)
    _sync(temporary)
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was quicker with the same content
            raise
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
