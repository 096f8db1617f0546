"""The search for the recipe's numbers as the hosts call it: data, a study of their own, and what came of it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.app.json_files import write_json
from orchestai.app.learning import check_enough, fit_phase1
from orchestai.config import Phase1Config, Project, write_phase1
from orchestai.contracts import PlanExample, TaskCatalog, WorkerCatalog

if TYPE_CHECKING:
    from orchestai.training.search import OnEpoch, StudyResult, Trial

STUDY_FILE = "study.json"
RECIPE_FILE = "phase1.yml"


def tune_phase1(
    project: Project,
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    out: Path,
    trials: int,
    timeout_s: float | None = None,
    config: Phase1Config | None = None,
    on_epoch: Callable[[int, dict[str, Any]], None] | None = None,
    on_trial: Callable[[Trial, float | None], None] | None = None,
) -> StudyResult:
    """Search the recipe's numbers and write `study.json` and the best recipe, `phase1.yml`, to `out`.

    Test rows are taken out before anything else sees the data.

    Raises:
        DataError: There are too few examples, no validation plans, or no trial completed.
        InputError: `trials` or `timeout_s` makes no sense.
        StorageError: Another process searches, or the disk refuses.
    """
    from orchestai.training.rows import assign_split
    from orchestai.training.search import OBJECTIVE, RANGES, search

    check_enough(project, examples)
    given = config or project.training.phase1
    split = [example.model_copy(update={"split": assign_split(example)}) for example in examples]
    seen = [example for example in split if example.split != "test"]
    name = f"phase1-{_fingerprint(project, given, seen, tasks, workers, tuple(RANGES.items()))}"

    with tempfile.TemporaryDirectory(prefix="tune-", dir=_made(project.paths.state)) as scratch:

        def train_once(recipe: Phase1Config, after: OnEpoch) -> tuple[list[dict[str, Any]], int]:
            result = fit_phase1(
                project,
                seen,
                tasks=tasks,
                workers=workers,
                out=Path(scratch) / "trial",
                config=recipe,
                on_epoch=after,
                resume=False,
            )
            return result.history, result.best_epoch

        found = search(
            given,
            train_once,
            storage=project.paths.state / "studies.sqlite",
            name=name,
            trials=trials,
            timeout_s=timeout_s,
            on_epoch=on_epoch,
            on_trial=on_trial,
        )
    write_json(
        out / STUDY_FILE,
        {
            "study": name,
            "objective": OBJECTIVE,
            "rows": {part: sum(example.split == part for example in seen) for part in ("train", "validation")},
            "given": {"value": found.given, "config": given.model_dump(mode="json")},
            "best": {"value": found.value, "config": found.best.model_dump(mode="json")},
            "trials": [trial._asdict() for trial in found.trials],
        },
    )
    write_phase1(out / RECIPE_FILE, found.best, note=describe(found))
    return found


def describe(found: StudyResult) -> str:
    """Say in one line what a search found, in percent."""
    given = "" if found.given is None else f"; the recipe that it began with {100 * found.given:.1f}"
    return (
        f"Best of {len(found.trials)} trials, mean of node and link F1 on validation: {100 * found.value:.1f}{given}."
    )


def _fingerprint(project: Project, given: Phase1Config, examples: Sequence[PlanExample], *parts: Any) -> str:
    """Hash of all that the trials of one study must share."""
    told = [
        given.model_dump_json(),
        project.planner.model_dump_json(include={"encoder", "gnn", "subtask_size", "node_size", "max_subtasks"}),
        *(example.model_dump_json() for example in sorted(examples, key=lambda example: example.id)),
        *(part.model_dump_json() if hasattr(part, "model_dump_json") else repr(part) for part in parts),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
