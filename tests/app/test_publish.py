"""A new checkpoint takes the place of the old one without a moment in which there is none."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import torch

from orchestai.app.places import phase1_folder, previous_phase1_folder
from orchestai.app.publish import publish, training_place
from orchestai.checkpoint import load_checkpoint, save_checkpoint
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.config import Project, load_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = load_project()
    return found.model_copy(update={"paths": found.paths.model_copy(update={"checkpoints": tmp_path / "checkpoints"})})


def make(folder: Path, value: int) -> None:
    save_checkpoint(folder, {"w": torch.full((64,), float(value))}, {"value": value}, ManifestFields(kind="phase1"))


def value(folder: Path) -> int:
    loaded = load_checkpoint(folder)
    assert loaded.tensors["w"][0] == loaded.config["value"]  # all files of one version
    return int(loaded.config["value"])


def published(project: Project, number: int) -> None:
    place = training_place(project, phase1_folder(project))
    make(place, number)
    publish(project, place)
    assert not place.exists()


def test_the_new_one_is_current_and_the_old_one_previous(project: Project) -> None:
    current, previous = phase1_folder(project), previous_phase1_folder(project)
    published(project, 1)
    assert value(current) == 1
    assert not previous.exists()
    for number in (2, 3):
        published(project, number)
        assert (value(current), value(previous)) == (number, number - 1)
    assert len(list(current.with_name("phase1.versions").iterdir())) == 2  # older ones are gone
    published(project, 3)
    assert (value(current), value(previous)) == (3, 2)  # the same weights again replace nothing


def test_a_plain_folder_of_an_earlier_release_becomes_a_version(project: Project) -> None:
    current, previous = phase1_folder(project), previous_phase1_folder(project)
    make(current, 1)
    make(previous, 0)
    published(project, 2)
    assert (value(current), value(previous)) == (2, 1)


def test_a_broken_one_is_replaced_and_not_kept(project: Project) -> None:
    current = phase1_folder(project)
    current.mkdir(parents=True)
    (current / "manifest.json").write_text("{", encoding="utf-8")
    published(project, 2)
    assert value(current) == 2
    assert not previous_phase1_folder(project).exists()


def test_a_place_of_ones_own_is_trained_in_directly(project: Project, tmp_path: Path) -> None:
    assert training_place(project, tmp_path / "mine") == tmp_path / "mine"


def test_a_reader_always_finds_a_whole_checkpoint(project: Project) -> None:
    current = phase1_folder(project)
    published(project, 0)
    spare = [current.with_name(f"spare{number}") for number in range(1, 13)]
    for number, folder in enumerate(spare, start=1):
        make(folder, number)
    seen: list[int] = []
    problems: list[Exception] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                assert (current / "manifest.json").exists()
                seen.append(value(current))
            except Exception as error:
                problems.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for folder in spare:
        before = len(seen)
        publish(project, folder)
        while len(seen) <= before + 1 and reader.is_alive():  # both sides of each switch are read
            pass
    over.set()
    reader.join()
    assert problems == []
    assert seen == sorted(seen)
    assert seen[-1] == 12
    shutil.rmtree(current.parent)
