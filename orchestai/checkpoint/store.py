"""Write a checkpoint so that it is whole or absent; read it only if it is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from orchestai.checkpoint.manifest import FORMAT, Manifest, ManifestFields
from orchestai.errors import CheckpointError, StorageError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
MANIFEST = "manifest.json"


class LoadedCheckpoint(NamedTuple):
    """A verified checkpoint."""

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]
    manifest: Manifest


def save_checkpoint(
    directory: Path,
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    fields: ManifestFields,
    *,
    extra: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a checkpoint and return its manifest.

    Everything goes to a temporary folder beside the target, is forced to disk, and then renamed. A
    checkpoint that stood there before is moved aside first and removed last.

    Args:
        directory: The checkpoint's folder.
        tensors: Weights by name.
        config: What is needed to build the network again; JSON values only.
        fields: The maker's part of the manifest.
        extra: Further JSON documents by file name, e.g. `metrics.json`; the manifest covers them too.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    directory = Path(directory)
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        try:
            plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            save_file(plain, temporary / WEIGHTS)
            for name, document in {CONFIG: config, **(extra or {})}.items():
                (temporary / name).write_text(_dump(document), encoding="utf-8")
            files = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
            manifest = Manifest(**fields.model_dump(), code_version=metadata.version("orchestai"), files=files)
            (temporary / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
            for path in temporary.iterdir():
                _sync(path)
            _sync(temporary)
            _swap(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"The checkpoint cannot be written: {error}.",
            path=str(directory),
            remedy="Free some space, or name another folder.",
        ) from error
    return manifest


def load_checkpoint(directory: Path) -> LoadedCheckpoint:
    """Read a checkpoint, after checking every file against the manifest.

    Raises:
        CheckpointError: Something is missing, changed, garbled or of another format.
    """
    directory = Path(directory).resolve()  # a link may name another version before the last file is read
    manifest = read_manifest(directory)
    for name in (WEIGHTS, CONFIG):
        if name not in manifest.files:
            raise _broken(directory, f"its manifest does not list {name}")
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise _broken(directory, f"its manifest names a file outside of it: {name!r}")
        try:
            actual = _sha256(directory / name)
        except OSError as error:
            raise _broken(directory, f"{name} cannot be read ({error.strerror})") from error
        if actual != expected:
            raise _broken(directory, f"{name} has sha256 {actual[:12]}..., the manifest says {expected[:12]}...")
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(directory / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise _broken(directory, f"its content is garbled ({error})") from error
    if not isinstance(config, dict):
        raise _broken(directory, f"{CONFIG} does not hold an object")
    return LoadedCheckpoint(tensors=tensors, config=config, manifest=manifest)


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
        raise _broken(directory, f"{MANIFEST} is garbled ({error})") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise _broken(directory, f"it has format {found!r}, this version reads {FORMAT}")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise _broken(directory, f"{MANIFEST} has {error.error_count()} wrong fields") from error


def _broken(directory: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {directory} cannot be used: {what}.",
        remedy="Copy it again from where it was made, or train it anew.",
    )


def _dump(document: object) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(new: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)
