"""The registry: versions, aliases and releases in MLflow, changed by compare-and-set.

A change of several aliases is not one transaction in MLflow. So it is written down first, as one tag, and then
carried out; whoever finds such a tag carries it out to its end. Changes of one project exclude each other by a
locked file in its state folder; with an MLflow server that several machines change, that folder must be shared.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestai.checkpoint.manifest import Manifest
from orchestai.config import Project
from orchestai.errors import InputError, RegistryConflictError, RegistryError, RegistryUnreachableError
from orchestai.logs.files import make_directory
from orchestai.registry.bundle import bundle_digest, bundle_folder, make_bundle
from orchestai.registry.pointer import PointedVersion, ServingPointer, registry_state, write_pointer
from orchestai.registry.records import MODEL, ModelVersion, RegistryState

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIASES = ("champion", "challenger", "previous")

_DIGEST = "orchestai.digest"
_FACTS = "orchestai.facts"
_PARTS = "orchestai.part"
_STATE = "orchestai.state"
_CHANGE = "orchestai.change"
_LOCK_S = 60.0


def registry_uri(project: Project) -> str:
    """Return the address of MLflow."""
    return project.registry.uri or f"sqlite:///{project.paths.data / 'registry' / 'mlflow.db'}"


def open_registry(project: Project) -> ModelRegistry:
    """Return the registry of a project; nothing is touched until it is used.

    Raises:
        InputError: It is turned off.
    """
    if not project.registry.enabled:
        raise InputError("The registry is turned off.", remedy="Set `registry.enabled: true` in project.yml.")
    return ModelRegistry(project)


class ModelRegistry:
    """Versions, aliases and releases of one project.

    Args:
        project: Names the registry, the checkpoints and the state folder.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self.uri = registry_uri(project)
        self.name = project.registry.model
        self._opened: MlflowClient | None = None

    def register(self, checkpoints: Path | None = None, *, notes: Mapping[str, str] | None = None) -> ModelVersion:
        """Keep what was trained as a version; equal content is the same version, whoever registers it.

        Args:
            checkpoints: Folder with `phase1`, `phase2`, `router`, as far as they are there; the project's if not given.
            notes: Anything else worth keeping.

        Raises:
            CheckpointError: A checkpoint is half-written or damaged; nothing is registered.
            RegistryUnreachableError: MLflow does not answer.
            StorageError: The copy cannot be written.
        """
        home = self._project.paths.checkpoints
        _, manifests = make_bundle(checkpoints or home, home)
        digest = bundle_digest({name: manifest.digest for name, manifest in manifests.items()})
        facts = _facts(manifests, notes or {})
        with self._locked(), _translated(self.uri):
            self._ensure_model()
            for known in self._search():
                if known.tags.get(_DIGEST) == digest:
                    return self._version(known)
            tags = {_DIGEST: digest, _FACTS: json.dumps(facts), **_readable(manifests)}
            # A server of MLflow takes no source without a path.
            made = self._client.create_model_version(self.name, source=f"bundle://orchestai/{digest}", tags=tags)
            return self._version(self._client.get_model_version(self.name, str(made.version)))

    def versions(self) -> list[ModelVersion]:
        """Return all versions, the oldest first.

        Raises:
            RegistryUnreachableError: MLflow does not answer.
        """
        with _translated(self.uri):
            return [self._version(found) for found in self._search()]

    def get(self, version: str) -> ModelVersion:
        """Return a version by its number or alias.

        Raises:
            InputError: There is none.
            RegistryUnreachableError: MLflow does not answer.
        """
        number = getattr(self.state().aliases, version) if version in ALIASES else version
        for found in self.versions():
            if found.version == number:
                return found
        known = ", ".join(found.version for found in self.versions()) or "none"
        raise InputError(f"There is no version {version!r}.", remedy=f"Known: {known}; aliases: {', '.join(ALIASES)}.")

    def state(self) -> RegistryState:
        """Return aliases and releases, after an interrupted change was carried out to its end.

        Raises:
            RegistryUnreachableError: MLflow does not answer.
        """
        with _translated(self.uri):
            state, pending = self._read()
            if pending is None:
                return state
        with self._locked(), _translated(self.uri):
            return self._settled()

    def change(self, expected: RegistryState, new: RegistryState) -> RegistryState:
        """Put `new` in the place of `expected`, and tell those who serve.

        Raises:
            RegistryConflictError: The registry is not as expected; nothing was changed.
            RegistryUnreachableError: MLflow does not answer.
            StorageError: The pointer file cannot be written; the next `sync` writes it.
        """
        with self._locked() as marker:
            with _translated(self.uri):
                found = self._settled()
                if found.revision != expected.revision:
                    raise RegistryConflictError(
                        f"The registry changed meanwhile (state {found.revision}, expected {expected.revision}).",
                        remedy="Look again (`orchestai models list`) and decide anew.",
                    )
                known = {version.version for version in map(self._version, self._search())}
                missing = [each for _, each in new.aliases if each is not None and each not in known]
                if missing:
                    raise InputError(f"There is no version {missing[0]!r}.")
                self._ensure_model()
                marker.touch()
                self._client.set_registered_model_tag(self.name, _CHANGE, new.model_dump_json())
                state = self._settled()
            self._point(state)
            marker.unlink()
        return state

    def sync(self) -> ServingPointer:
        """Write the pointer file anew from the registry.

        Raises:
            RegistryUnreachableError: MLflow does not answer; the pointer file stays as it is.
            StorageError: The file cannot be written.
        """
        with self._locked() as marker:
            with _translated(self.uri):
                state = self._settled()
            pointer = self._point(state)
            marker.unlink(missing_ok=True)
        return pointer

    @property
    def _client(self) -> MlflowClient:
        if self._opened is None:
            if self.uri.startswith("sqlite:///"):
                make_directory(Path(self.uri.removeprefix("sqlite:///")).parent)
            self._opened = _mlflow().MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._opened

    def _ensure_model(self) -> None:
        if self._model() is None:
            self._client.create_registered_model(self.name, description="Planner, policy and router of OrchestAI.")

    def _model(self) -> Any | None:
        try:
            return self._client.get_registered_model(self.name)
        except _mlflow().MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _search(self) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions(f"name='{self.name}'", max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda each: int(each.version))

    def _version(self, found: Any) -> ModelVersion:
        try:
            facts = json.loads(found.tags[_FACTS])
            digest = found.tags[_DIGEST]
            return ModelVersion(
                version=str(found.version),
                digest=digest,
                folder=bundle_folder(self._project.paths.checkpoints, digest),
                created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
                **facts,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise RegistryError(
                f"Version {found.version} of {self.name!r} is not one that OrchestAI registered ({error!r}).",
                remedy="Give `registry.model` a name of its own, or delete that version.",
            ) from error

    def _read(self) -> tuple[RegistryState, RegistryState | None]:
        model = self._model()
        if model is None:
            return RegistryState(), None
        try:
            pending = model.tags.get(_CHANGE)
            kept = json.loads(model.tags.get(_STATE, "{}"))
            aliases = {name: str(model.aliases[name]) for name in ALIASES if name in model.aliases}
            state = RegistryState.model_validate({**kept, "aliases": aliases})
            return state, RegistryState.model_validate_json(pending) if pending else None
        except (ValidationError, ValueError) as error:
            raise RegistryError(
                f"The registered model {self.name!r} has tags that OrchestAI did not write: {error}.",
                remedy=f"Delete its tags {_STATE!r} and {_CHANGE!r}.",
            ) from error

    def _settled(self) -> RegistryState:
        """Carry out a change that was written down, and return the state; the lock is held."""
        state, pending = self._read()
        if pending is None:
            return state
        for alias in ALIASES:
            version = getattr(pending.aliases, alias)
            if version is not None:
                self._client.set_registered_model_alias(self.name, alias, version)
            elif getattr(state.aliases, alias) is not None:
                self._client.delete_registered_model_alias(self.name, alias)
        rest = pending.model_dump_json(exclude={"aliases"})
        self._client.set_registered_model_tag(self.name, _STATE, rest)
        self._client.delete_registered_model_tag(self.name, _CHANGE)
        return pending

    def _point(self, state: RegistryState) -> ServingPointer:
        with _translated(self.uri):
            versions = {found.version: found for found in map(self._version, self._search())}

        def pointed(number: str | None) -> PointedVersion | None:
            found = versions.get(number) if number is not None else None
            return PointedVersion(version=found.version, digest=found.digest, folder=found.folder) if found else None

        release = state.releases.get(MODEL)
        held = release is not None and release.phase == "holdback"
        pointer = ServingPointer(
            registry=self.uri,
            model=self.name,
            revision=state.revision,
            synced=datetime.now(UTC),
            champion=pointed(state.aliases.champion),
            challenger=pointed(state.aliases.challenger),
            holdback=pointed(state.aliases.previous) if held else None,
            releases=state.releases,
            prompts=state.prompts,
        )
        write_pointer(self._project, pointer)
        return pointer

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Path]:
        """Keep everybody else out; gives the mark of a change that is not in the pointer file yet."""
        folder = registry_state(self._project)
        make_directory(folder)
        deadline = time.monotonic() + _LOCK_S
        with (folder / "lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise RegistryConflictError(
                            f"Another process has changed the registry for {_LOCK_S:.0f} s.",
                            remedy=f"End it; it holds the lock on {folder / 'lock'}.",
                        ) from None
                    time.sleep(0.02)
            yield folder / "changing"


def _mlflow() -> Any:
    """Import MLflow; all that is needed of it is taken from here, for it looks at its settings on import only.

    By itself it reports its use to its makers, says what tables it makes, and waits minutes for a dead server.
    """
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_LOGGING_LEVEL", "WARNING"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
    ):
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turn errors of MLflow and of what is below it into ours."""
    try:
        yield
    except (RegistryError, InputError):
        raise
    except Exception as error:
        module = type(error).__module__.partition(".")[0]
        if module not in ("mlflow", "sqlalchemy", "sqlite3", "requests", "urllib3") and not isinstance(error, OSError):
            raise
        raise RegistryUnreachableError(
            f"The registry at {uri} does not answer: {str(error).splitlines()[0] if str(error) else error!r}.",
            remedy="What is served stays as it is. Check `registry.uri` and the server.",
        ) from error


def _facts(manifests: Mapping[str, Manifest], notes: Mapping[str, str]) -> dict[str, Any]:
    parents = dict.fromkeys(parent for manifest in manifests.values() for parent in manifest.parents)
    metrics = {f"{part}.{name}": value for part, each in manifests.items() for name, value in each.metrics.items()}
    return {
        "parts": {name: manifest.digest for name, manifest in manifests.items()},
        "data_hash": {name: manifest.data_hash for name, manifest in manifests.items()},
        "code_version": max(manifest.code_version for manifest in manifests.values()),
        "seed": {name: manifest.seed for name, manifest in manifests.items()},
        "parents": list(parents),
        "metrics": metrics,
        "notes": dict(notes),
    }


def _readable(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """Return tags that people read in MLflow's own pages; they repeat what the facts say."""
    return {
        f"{_PARTS}.{name}": f"{manifest.digest[:12]} data {manifest.data_hash[:12]} seed {manifest.seed}"
        for name, manifest in manifests.items()
    }
