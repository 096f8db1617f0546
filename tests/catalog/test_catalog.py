from __future__ import annotations

from pathlib import Path

import pytest

from orchestai.catalog import ImportedCatalog, estimate, read_catalog, write_catalog
from orchestai.contracts import Modality, TaskCatalog, TaskType, WorkerCatalog, WorkerProfile
from orchestai.errors import DataError, InputError, StorageError


def _catalog() -> ImportedCatalog:
    return ImportedCatalog(
        source="ultratool",
        tasks=TaskCatalog(
            types=(
                TaskType(name="look", description="Look: at things", keywords=("see", "mirar")),
                TaskType(name="say", description='Ünïcode, "quotes" and #hash', modality=Modality.AUDIO),
            ),
            links=(("look", "say"), ("look", "look")),
        ),
        workers=WorkerCatalog(workers=(WorkerProfile(name="w", description="d", model="m", input_usd_per_mtok=0.5),)),
    )


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    file = write_catalog(tmp_path, _catalog())
    assert file == tmp_path / "catalog.yml"
    assert read_catalog(tmp_path) == _catalog()
    assert read_catalog(file) == _catalog()
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.yml"]


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="orchestai import"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "mapping"),
        ("task_types: [", "not YAML"),
        ("task_types: []\n", "at least one task type"),
        ("task_types:\n- {name: a, description: b}\n- {name: a, description: c}\n", "defined 2 times"),
        ("task_types:\n- {name: a}\n", r"task_types\.0\.description"),
        ("task_types:\n- {name: a, description: b}\nlinks: [[a, z]]\n", "'z'"),
        ("tasks: []\n", "unknown keys: tasks"),
        ("version: 2\ntask_types:\n- {name: a, description: b}\n", "version 2"),
        ("!!python/object/apply:os.system [echo]\n", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "catalog.yml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_catalog(tmp_path)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "catalog.yml").write_text("task_types:\n- {name: a}\n- {description: b}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_catalog(tmp_path)
    assert "task_types.0.description" in str(caught.value)
    assert "task_types.1.name" in str(caught.value)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(StorageError):
        write_catalog(tmp_path / "blocked" / "catalog.yml", _catalog())


def test_estimate_by_hand() -> None:
    worker = WorkerProfile(
        name="w",
        description="d",
        model="m",
        input_usd_per_mtok=2.0,
        output_usd_per_mtok=10.0,
        typical_latency_ms=700,
    )
    task_type = TaskType(name="t", description="d", max_output_tokens=100)
    # 361 characters / 3.6 = 100.3 -> 101 tokens; 101 * 2 + 100 * 10 = 1202 dollars a million.
    cost, latency = estimate(worker, task_type, 361)
    assert cost == pytest.approx(1202e-6)
    assert latency == 700


def test_estimate_refuses_a_negative_length() -> None:
    worker = WorkerProfile(name="w", description="d", model="m")
    with pytest.raises(InputError, match="got -1"):
        estimate(worker, TaskType(name="t", description="d"), -1)
