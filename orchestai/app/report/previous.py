"""The model before this one: measured again on the same rows where it still is, else by its old report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestai.app.batch import load_predictor
from orchestai.app.places import previous_phase1_folder
from orchestai.app.report.measure import COMPARED, Predictions, differences, intervals
from orchestai.config import Project
from orchestai.contracts import PlanExample, TaskCatalog
from orchestai.errors import CheckpointError

AGAIN, REPORTED = "measured again on the same rows", "numbers of its own report, on the rows of that day"


def compare_previous(
    project: Project,
    test: Sequence[PlanExample],
    learned: Predictions,
    tasks: TaskCatalog,
    *,
    checkpoint: str,
    old: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Return what the previous model is worth beside this one; None where there was none.

    Args:
        project: Where the previous checkpoint would lie.
        test: The test rows.
        learned: This model's plans for them.
        tasks: Catalog of the task types.
        checkpoint: Digest of this model.
        old: The report that is going to be replaced, if there is one.
    """
    from orchestai.checkpoint import read_manifest
    from orchestai.evaluation.evaluate import answers

    folder = previous_phase1_folder(project)
    if (folder / "manifest.json").exists():
        try:
            digest = read_manifest(folder).digest
            predictor, _ = load_predictor(project, tasks, folder)
        except CheckpointError:  # of another encoder or version: only its old numbers are left
            pass
        else:
            theirs = answers(predictor, test)
            return {
                "checkpoint": digest,
                "how": AGAIN,
                "scores": intervals(test, theirs),
                "differences": differences(test, learned, theirs),
            }
    return _reported(old, checkpoint)


def read_old(path: Path) -> dict[str, Any] | None:
    """Return the report that lies there, or None if there is none that can be read."""
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return old if isinstance(old, dict) else None


def _reported(old: dict[str, Any] | None, checkpoint: str) -> dict[str, Any] | None:
    if old is None:
        return None
    if old.get("checkpoint") == checkpoint:  # this model was reported on before: pass on what stood there
        kept: dict[str, Any] | None = old.get("previous")
        return kept if kept and kept.get("how") == REPORTED else None
    scores = old.get("planners", {}).get("learned")
    if not scores or not all(key in scores for key in COMPARED):
        return None
    return {
        "checkpoint": old.get("checkpoint"),
        "how": REPORTED,
        "scores": {key: {"mean": scores[key]} for key in COMPARED},
    }
