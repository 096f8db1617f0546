"""Looks at the machine and the project and says what works."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Literal, NamedTuple

from orchestai.app.planning import current_checkpoint
from orchestai.config import Project
from orchestai.endpoint import find_model
from orchestai.errors import CheckpointError

_MIN_FREE_BYTES = 1 << 30


class Finding(NamedTuple):
    """One thing looked at."""

    name: str
    state: Literal["ok", "note", "failed"]
    message: str


def diagnose(project: Project) -> list[Finding]:
    """Look at storage, packaged model, endpoint, workers, checkpoint, Dagster and GPU."""
    return [
        Finding("project", "ok", f"{project.directory}, target {project.target}"),
        _storage(project.home),
        _model(),
        _encoder(project.planner.encoder),
        _port("packaged model's port", project.endpoint.host, project.endpoint.port),
        *_workers(project),
        _checkpoint(project),
        _dagster(),
        _gpu(),
    ]


def _storage(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home) as probe:
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return Finding("home", "failed", f"{home} cannot be written ({error.strerror}). Set ORCHESTAI_HOME.")
    free = shutil.disk_usage(home).free
    state: Literal["ok", "note"] = "ok" if free >= _MIN_FREE_BYTES else "note"
    return Finding("home", state, f"{home} is writable, {free / 2**30:.1f} GiB free")


def _model() -> Finding:
    try:
        path = find_model()
    except Exception as error:  # whatever is wrong with the package, the doctor only reports it
        return Finding("packaged model", "failed", str(error))
    return Finding("packaged model", "ok", f"{path.name}, {path.stat().st_size / 2**20:.0f} MiB")


def _encoder(name: str) -> Finding:
    from orchestai.embeddings.loading import MINILM, packaged_minilm

    if name != MINILM:
        return Finding("encoder", "note", f"{name}: looked up when it is first used")
    try:
        path = packaged_minilm()
    except CheckpointError as error:
        return Finding("encoder", "failed", str(error))
    return Finding("encoder", "ok", f"{name}, {path}")


def _port(name: str, host: str, port: int) -> Finding:
    if port == 0:
        return Finding(name, "ok", "any free port")
    try:
        socket.create_connection((host, port), timeout=1).close()
        used = True
    except OSError:
        used = False
    message = f"{host}:{port} is in use; fine if `orchestai up` runs" if used else f"{host}:{port} is free"
    return Finding(name, "note" if used else "ok", message)


def _workers(project: Project) -> list[Finding]:
    findings = []
    for worker in project.workers.profiles():
        if worker.simulated or not worker.base_url or not worker.api_key_env:
            continue
        if project.settings.env(worker.api_key_env):
            findings.append(Finding(f"key of {worker.name}", "ok", f"{worker.api_key_env} is set"))
        else:
            message = f"{worker.api_key_env} is not set; {worker.base_url} may refuse calls"
            findings.append(Finding(f"key of {worker.name}", "note", message))
    return findings


def _checkpoint(project: Project) -> Finding:
    path = current_checkpoint(project)
    if path is None:
        return Finding("learned planner", "note", "no checkpoint yet: the rules plan. `make run` trains one.")
    return Finding("learned planner", "ok", str(path))


def _dagster() -> Finding:
    if util.find_spec("dagster") is None:
        return Finding("dagster", "note", "not installed: pip install 'orchestai[dagster]'")
    return Finding("dagster", "ok", metadata.version("dagster"))


def _gpu() -> Finding:
    if Path("/dev/nvidiactl").exists():
        return Finding("GPU", "ok", "an NVIDIA device is present")
    return Finding("GPU", "note", "none; everything runs on the CPU")
