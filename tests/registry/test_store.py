"""Versions, aliases and the pointer file; what a kill or a race leaves behind."""

import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from orchestai.checkpoint import load_checkpoint
from orchestai.config import Project
from orchestai.errors import CheckpointError, InputError, RegistryConflictError, RegistryUnreachableError
from orchestai.registry import Aliases, ModelRegistry, ModelVersion, RegistryState, open_registry, read_pointer
from orchestai.registry.pointer import pointer_file
from tests.registry.conftest import write_checkpoint

Make = Callable[[int], ModelVersion]


def test_a_version_has_its_lineage_and_an_immutable_copy(project: Project, registry: ModelRegistry) -> None:
    write_checkpoint(project, 1)
    write_checkpoint(project, 2, "router")
    version = registry.register(notes={"why": "first"})
    write_checkpoint(project, 3)  # the next training replaces the folder that was registered

    found = registry.get(version.version)
    assert found == version
    assert set(found.parts) == {"phase1", "router"}
    assert found.data_hash == {"phase1": "data1", "router": "data2"}
    assert found.seed == {"phase1": 1, "router": 2}
    assert found.metrics == {"phase1.loss": 0.1, "router.loss": 0.2}
    assert found.parents == ("parent1", "parent2")
    assert found.notes == {"why": "first"}
    assert load_checkpoint(found.folder / "phase1").config == {"number": 1}
    weights = found.folder / "phase1" / "model.safetensors"
    assert not stat.S_IMODE(weights.stat().st_mode) & 0o222


_FIRST_USE = """
import logging, sys
from pathlib import Path
from orchestai.registry import open_registry
from tests.registry.conftest import project_at
open_registry(project_at(Path(sys.argv[1]))).register()
from mlflow.telemetry import get_telemetry_client
log = logging.getLogger("mlflow.store.db.utils")
print(log.isEnabledFor(logging.INFO), log.isEnabledFor(logging.WARNING), get_telemetry_client())
"""


def test_mlflow_is_quiet_and_reports_to_nobody_whatever_is_asked_first(project: Project) -> None:
    write_checkpoint(project, 1)
    command = [sys.executable, "-c", _FIRST_USE, str(project.home)]
    # What this process set for its own MLflow must not set that one's.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST_"))}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "False True None\n"
    assert "INFO" not in done.stderr


def test_equal_content_is_one_version(project: Project, registry: ModelRegistry, make_version: Make) -> None:
    first = make_version(1)
    again = open_registry(project).register()
    other = make_version(2)

    assert again == first
    assert [found.version for found in registry.versions()] == [first.version, other.version]


def test_a_server_of_mlflow_would_take_the_source(registry: ModelRegistry, make_version: Make) -> None:
    """A server refuses a source whose path is not absolute; SQLite takes anything."""
    version = make_version(1)

    source = urlparse(registry._client.get_model_version(registry.name, version.version).source)

    assert (source.scheme, source.path) == ("bundle", f"/{version.digest}")


@pytest.mark.parametrize("damage", ["cut", "missing", "none"])
def test_a_half_written_checkpoint_is_never_registered(project: Project, registry: ModelRegistry, damage: str) -> None:
    folder = write_checkpoint(project, 1)
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "missing":
        weights.unlink()
    else:
        (folder / "manifest.json").unlink()

    with pytest.raises(CheckpointError):
        registry.register()
    assert registry.versions() == []
    assert not (project.paths.checkpoints / "versions").exists()


def test_a_copy_that_was_cut_off_is_made_again(project: Project, registry: ModelRegistry, make_version: Make) -> None:
    version = make_version(1)
    # What a kill while copying leaves: a folder with another name.
    leftover = version.folder.with_name(f".{version.folder.name}.1234.tmp")
    leftover.mkdir()

    assert make_version(2).folder.exists()
    assert registry.get(version.version).folder == version.folder


def test_aliases_change_together_and_the_pointer_follows(
    project: Project, registry: ModelRegistry, make_version: Make
) -> None:
    assert read_pointer(project) is None
    first, second = make_version(1), make_version(2)
    state = registry.state()
    state = registry.change(state, state.update(aliases=Aliases(champion=first.version)))
    state = registry.change(state, state.update(aliases=Aliases(champion=second.version, previous=first.version)))

    assert open_registry(project).state() == state
    assert registry.get("previous") == first
    pointer = read_pointer(project)
    assert pointer is not None
    assert pointer.champion is not None
    assert pointer.champion.version == second.version
    assert pointer.champion.folder == second.folder
    assert pointer.revision == state.revision
    assert "copy" in pointer.note


def test_a_change_from_an_old_state_is_refused(registry: ModelRegistry, make_version: Make) -> None:
    first, second = make_version(1), make_version(2)
    old = registry.state()
    registry.change(old, old.update(aliases=Aliases(champion=first.version)))

    with pytest.raises(RegistryConflictError, match="changed meanwhile"):
        registry.change(old, old.update(aliases=Aliases(champion=second.version)))
    assert registry.state().aliases.champion == first.version


def test_an_alias_of_a_version_that_is_not_there_is_refused(registry: ModelRegistry, make_version: Make) -> None:
    make_version(1)
    state = registry.state()

    with pytest.raises(InputError, match="no version '7'"):
        registry.change(state, state.update(aliases=Aliases(champion="7")))
    assert registry.state() == state


def test_of_many_that_race_one_wins(project: Project, registry: ModelRegistry, make_version: Make) -> None:
    versions = [make_version(number).version for number in range(1, 5)]
    state = registry.state()
    won: list[str] = []
    lost: list[RegistryConflictError] = []

    def race(version: str) -> None:
        try:
            open_registry(project).change(state, state.update(aliases=Aliases(champion=version)))
            won.append(version)
        except RegistryConflictError as error:
            lost.append(error)

    threads = [threading.Thread(target=race, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 3
    assert registry.state().aliases.champion == won[0]
    pointer = read_pointer(project)
    assert pointer is not None
    assert pointer.champion is not None
    assert pointer.champion.version == won[0]


def test_a_change_that_was_cut_off_is_carried_out(
    project: Project, registry: ModelRegistry, make_version: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill after each call to MLflow in turn: the state is the old or the new one, never a mixture."""
    first, second = make_version(1), make_version(2)
    state = registry.state()
    old = registry.change(state, state.update(aliases=Aliases(champion=first.version)))
    new = old.update(aliases=Aliases(champion=second.version, previous=first.version), prompts={"summarization": "s@2"})

    for calls in range(5):
        victim = multiprocessing.get_context("fork").Process(target=_change_and_die, args=(project, old, new, calls))
        victim.start()
        victim.join()
        assert victim.exitcode == 9
        found = open_registry(project).state()
        assert found in (old, new)
        assert found == (old if calls == 0 else new)
        # The pointer may be late; the next look brings it back.
        assert open_registry(project).sync().revision == found.revision
        if found == new:
            open_registry(project).change(new, old)


def _change_and_die(project: Project, old: RegistryState, new: RegistryState, calls: int) -> None:
    registry = open_registry(project)
    registry.state()
    client: Any = registry._client
    left = [calls]
    for name in (
        "set_registered_model_tag",
        "set_registered_model_alias",
        "delete_registered_model_alias",
        "delete_registered_model_tag",
    ):
        original = getattr(client, name)

        def dying(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return original(*args, **kwargs)

        setattr(client, name, dying)
    registry.change(old, new)
    os._exit(9)


def test_a_registry_that_does_not_answer_leaves_the_pointer(
    project: Project, registry: ModelRegistry, make_version: Make, tmp_path: Path
) -> None:
    version = make_version(1)
    state = registry.state()
    registry.change(state, state.update(aliases=Aliases(champion=version.version)))
    before = pointer_file(project).read_bytes()
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    broken = project.model_copy(
        update={"registry": project.registry.model_copy(update={"uri": f"sqlite:///{blocked}/mlflow.db"})}
    )

    with pytest.raises(RegistryUnreachableError, match="does not answer"):
        open_registry(broken).sync()
    assert pointer_file(project).read_bytes() == before


def test_a_registry_that_is_turned_off_says_so(project: Project) -> None:
    off = project.model_copy(update={"registry": project.registry.model_copy(update={"enabled": False})})

    with pytest.raises(InputError, match="turned off"):
        open_registry(off)
