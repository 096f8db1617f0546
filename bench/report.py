"""The form that all benchmark reports share."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestai.errors import DataError, StorageError


def machine() -> dict[str, Any]:
    """Say on what it was measured."""
    import torch

    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average_1m": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_gib": _memory_gib(),
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
    for package in ("orchestai", "torch", "transformers", "numpy"):
        facts[package] = metadata.version(package)
    return facts


def data_sha256(paths: Iterable[Path]) -> str:
    """Hash files, and all files below folders, by relative name and content.

    Raises:
        DataError: A path does not exist.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not path.exists():
            raise DataError(f"There is no {path}.")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(str(file.relative_to(path) if path.is_dir() else file.name).encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def over_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one seed's results as they are; of several, each number as {mean, std} (sample deviation)."""
    if len(results) == 1:
        return dict(results[0])
    merged: dict[str, Any] = {}
    for key, first in results[0].items():
        values = [result[key] for result in results]
        if isinstance(first, Mapping):
            merged[key] = over_seeds(values)
        elif isinstance(first, int | float) and not isinstance(first, bool):
            merged[key] = {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
        else:
            merged[key] = first
    return merged


def write_report(
    path: Path, *, bench: str, data: Mapping[str, Any], sha256: str, seed: Any, results: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a report under a temporary name and rename it; return what was written.

    Raises:
        StorageError: It cannot be written.
    """
    report = {
        "bench": bench,
        "data": dict(data),
        "data_sha256": sha256,
        "seed": seed,
        "machine": machine(),
        "results": _plain(results),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}.", path=str(path)) from error
    return report


def _plain(value: Any) -> Any:
    """Round to what a reader can use, and turn NaN, which JSON does not know, into null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
