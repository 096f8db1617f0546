from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from orchestai.checkpoint import load_checkpoint, read_manifest, save_checkpoint
from orchestai.checkpoint import store as store_module
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.errors import CheckpointError, StorageError

FIELDS = ManifestFields(kind="phase1", data_hash="abc", seed=7, metrics={"exact": 0.5}, parents=("p",))


def save(folder: Path, value: float = 1.0) -> None:
    tensors = {"weight": torch.full((2, 3), value)}
    save_checkpoint(folder, tensors, {"size": 3}, FIELDS, extra={"metrics.json": {"exact": 0.5}})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "ck")
    loaded = load_checkpoint(tmp_path / "ck")
    assert loaded.tensors["weight"].tolist() == [[1.0] * 3] * 2
    assert loaded.config == {"size": 3}
    assert (loaded.manifest.kind, loaded.manifest.seed, loaded.manifest.parents) == ("phase1", 7, ("p",))
    assert loaded.manifest.metrics == {"exact": 0.5}
    assert set(loaded.manifest.files) == {"model.safetensors", "config.json", "metrics.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck"]


def test_saving_again_replaces_all_and_changes_the_digest(tmp_path: Path) -> None:
    save(tmp_path / "ck")
    first = read_manifest(tmp_path / "ck").digest
    save(tmp_path / "ck", 2.0)
    assert load_checkpoint(tmp_path / "ck").tensors["weight"][0, 0] == 2.0
    assert read_manifest(tmp_path / "ck").digest != first
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "ck")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_sync", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        save(tmp_path / "ck", 2.0)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "ck").tensors["weight"][0, 0] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]


def test_weights_that_do_not_fit_on_the_disk_are_an_error_of_ours(tmp_path: Path) -> None:
    """To safetensors a full disk is an error of its own, which is no OSError."""
    save(tmp_path / "ck")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            save_checkpoint(tmp_path / "ck", {"weight": torch.ones(100, 100)}, {"size": 100}, FIELDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(tmp_path / "ck").tensors["weight"][0, 0] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "metrics.json"])
def test_a_changed_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    save(tmp_path / "ck")
    path = tmp_path / "ck" / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(CheckpointError, match=f"{name} has sha256"):
        load_checkpoint(tmp_path / "ck")
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
        load_checkpoint(tmp_path / "ck")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "garbled"),
        ("[]", "format None"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1, "kind": 5}', "wrong fields"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path / "ck")
    (tmp_path / "ck" / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "ck")


def test_no_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="orchestai train"):
        load_checkpoint(tmp_path / "nothing")


def test_a_manifest_must_not_point_outside(tmp_path: Path) -> None:
    save(tmp_path / "ck")
    path = tmp_path / "ck" / "manifest.json"
    document = json.loads(path.read_text())
    document["files"]["../secret"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="outside"):
        load_checkpoint(tmp_path / "ck")


def test_garbled_weights_with_a_matching_hash_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "ck")
    weights = tmp_path / "ck" / "model.safetensors"
    weights.write_bytes(b"\x80\x04garbage")
    document = json.loads((tmp_path / "ck" / "manifest.json").read_text())
    document["files"]["model.safetensors"] = store_module.sha256_of(weights)
    (tmp_path / "ck" / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="garbled"):
        load_checkpoint(tmp_path / "ck")


def test_weights_are_safetensors_and_nothing_is_pickled(tmp_path: Path) -> None:
    save(tmp_path / "ck")
    save_file({"weight": torch.full((2, 3), 1.0)}, tmp_path / "plain.safetensors")
    assert (tmp_path / "ck" / "model.safetensors").read_bytes() == (tmp_path / "plain.safetensors").read_bytes()


def test_nan_does_not_get_into_a_config(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        save_checkpoint(tmp_path / "ck", {}, {"x": float("nan")}, FIELDS)
    assert list(tmp_path.iterdir()) == []
