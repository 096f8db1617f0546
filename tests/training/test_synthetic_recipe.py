"""What the configuration says about synthetic rows reaches the training, and only its training split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestai.app.learning import train_phase1
from orchestai.config import Project, SyntheticConfig, load_project
from orchestai.contracts import PlanExample
from orchestai.importers import read_starter
from orchestai.training import phase1

STARTER = Path(__file__).parents[2] / "examples" / "starter"


@pytest.mark.parametrize("rows", [0, 40])
def test_synthetic_rows_join_the_training_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: int) -> None:
    project = _project(rows)
    examples = [record.to_example() for record in read_starter(STARTER)]
    given: dict[str, Any] = {}

    def record(_config: Any, data: list[PlanExample], **_: Any) -> None:
        given["data"] = data

    monkeypatch.setattr(phase1, "train", record)
    train_phase1(project, examples, tasks=project.tasks, workers=project.workers, out=tmp_path / "out")
    added = given["data"][len(examples) :]
    assert given["data"][: len(examples)] == examples
    assert len(added) == rows
    assert all(example.split == "train" for example in added)


def _project(rows: int) -> Project:
    project = load_project()
    training = project.training.model_copy(update={"synthetic": SyntheticConfig(rows=rows, seed=2)})
    return project.model_copy(update={"training": training})
