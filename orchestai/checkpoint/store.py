"""Write a checkpoint so that it is whole or absent; read it only if it is what its manifest says."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError

from orchestai.checkpoint.manifest import Manifest, ManifestFields
from orchestai.checkpoint.verify import CONFIG, MANIFEST, WEIGHTS, broken, read_manifest, sha256_of, verify_checkpoint
from orchestai.errors import StorageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

__all__ = [
    "CONFIG",
    "MANIFEST",
    "WEIGHTS",
    "LoadedArrays",
    "LoadedCheckpoint",
    "load_arrays",
    "load_checkpoint",
    "read_manifest",
    "save_checkpoint",
]


class LoadedCheckpoint(NamedTuple):
    """A verified checkpoint."""

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]
    manifest: Manifest


class LoadedArrays(NamedTuple):
    """A verified checkpoint, for who computes without torch."""

    arrays: dict[str, npt.NDArray[np.float64]]
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
    from safetensors.torch import save_file

    directory = Path(directory)
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        try:
            plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            save_file(plain, temporary / WEIGHTS)
            for name, document in {CONFIG: config, **(extra or {})}.items():
                (temporary / name).write_text(_dump(document), encoding="utf-8")
            files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            manifest = Manifest(**fields.model_dump(), code_version=metadata.version("orchestai"), files=files)
            (temporary / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
            for path in temporary.iterdir():
                _sync(path)
            _sync(temporary)
            _swap(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # the latter is what a full disk is to safetensors
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
    from safetensors.torch import load_file

    config, manifest, tensors = _read(Path(directory), load_file)
    return LoadedCheckpoint(tensors=tensors, config=config, manifest=manifest)


def load_arrays(directory: Path) -> LoadedArrays:
    """Read a checkpoint as `load_checkpoint` does, as numpy arrays and without loading torch.

    Raises:
        CheckpointError: Something is missing, changed, garbled or of another format.
    """
    from safetensors.numpy import load_file

    config, manifest, arrays = _read(Path(directory), load_file)
    return LoadedArrays(arrays=arrays, config=config, manifest=manifest)


def _read(
    directory: Path, load_file: Callable[[Path], dict[str, Any]]
) -> tuple[dict[str, Any], Manifest, dict[str, Any]]:
    directory = directory.resolve()  # a link may name another version before the last file is read
    manifest = verify_checkpoint(directory)
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(directory / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise broken(directory, f"its content is garbled ({error})") from error
    if not isinstance(config, dict):
        raise broken(directory, f"{CONFIG} does not hold an object")
    return config, manifest, tensors


def _dump(document: object) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


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
