"""Is a checkpoint what its manifest says? Reads no weights, and so loads no torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from orchestai.checkpoint.manifest import FORMAT, Manifest
from orchestai.errors import CheckpointError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
MANIFEST = "manifest.json"


def verify_checkpoint(directory: Path) -> Manifest:
    """Compare every file of a checkpoint with its manifest, and return that.

    Raises:
        CheckpointError: Something is missing, changed or of another format.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    for name in (WEIGHTS, CONFIG):
        if name not in manifest.files:
            raise broken(directory, f"its manifest does not list {name}")
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise broken(directory, f"its manifest names a file outside of it: {name!r}")
        try:
            actual = sha256_of(directory / name)
        except OSError as error:
            raise broken(directory, f"{name} cannot be read ({error.strerror})") from error
        if actual != expected:
            raise broken(directory, f"{name} has sha256 {actual[:12]}..., the manifest says {expected[:12]}...")
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest alone; the other files are not checked.

    Raises:
        CheckpointError: There is none, or it is garbled or of another format.
    """
    directory = Path(directory)
    path = directory / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"There is no checkpoint at {directory}: {MANIFEST} is missing.",
            remedy="Train one (orchestai train), or name another folder.",
        ) from None
    except (OSError, ValueError) as error:
        raise broken(directory, f"{MANIFEST} is garbled ({error})") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise broken(directory, f"it has format {found!r}, this version reads {FORMAT}")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise broken(directory, f"{MANIFEST} has {error.error_count()} wrong fields") from error


def broken(directory: Path, what: str) -> CheckpointError:
    """Return the error of a checkpoint that is not what it should be."""
    return CheckpointError(
        f"The checkpoint {directory} cannot be used: {what}.",
        remedy="Copy it again from where it was made, or train it anew.",
    )


def sha256_of(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
