"""A training that leaves its traces: curves beside the checkpoint and in W&B, the checkpoint before it kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.app.learning import train_phase1
from orchestai.app.publish import publish, training_place
from orchestai.config import Phase1Config, Project
from orchestai.contracts import PlanExample, TaskCatalog, WorkerCatalog

if TYPE_CHECKING:
    from orchestai.training.phase1 import TrainResult
    from orchestai.training.tracking import Tracker


def train_recorded(
    project: Project,
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    out: Path,
    config: Phase1Config | None = None,
    tracker: Tracker | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train as `train_phase1` does, and record it.

    The curves are drawn to `curves_file(out)`. Where `out` is the checkpoint that the project plans with, it is
    trained beside it and takes its place when it is complete; the one that stood there is kept, so that the report can
    compare the two.

    Args:
        project: The project.
        examples: See `train_phase1`.
        tasks: See `train_phase1`.
        workers: See `train_phase1`.
        out: Folder of the checkpoint.
        config: The recipe; the project's if not given.
        tracker: An entered tracker; one of the project's own if not given.
        on_epoch: Called with each row of the history.
        resume: Whether to go on from a state that a killed training left.

    Raises:
        DataError: There are too few examples.
        StorageError: The checkpoint cannot be written, or cannot take its place.
    """
    from orchestai.evaluation.plots import loss_curves
    from orchestai.training.distributed import is_main_process
    from orchestai.training.tracking import Tracker

    writes = is_main_process()
    place = training_place(project, out)
    with ExitStack() as stack:
        if tracker is None and writes:
            settings = (config or project.training.phase1).model_dump()
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            folder = project.home / "wandb" / f"train-{stamp}"
            tracker = stack.enter_context(Tracker(project.tracking, name="phase1", directory=folder, settings=settings))

        def after(row: dict[str, Any]) -> None:
            if tracker is not None:
                tracker.log_epoch(row)
            if on_epoch is not None:
                on_epoch(row)

        result = train_phase1(
            project, examples, tasks=tasks, workers=workers, out=place, config=config, on_epoch=after, resume=resume
        )
    if writes:
        curves_file(out).write_bytes(loss_curves(curves(result.history), best_epoch=result.best_epoch))
        if place != out:
            publish(project, place)
    return result._replace(checkpoint=out)


def curves(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the losses of a history by what they were measured on, for `loss_curves`."""
    return {
        "training": [row["train_loss"] for row in history],
        "validation": [row["validation_loss"] for row in history],
    }


def curves_file(checkpoint: Path) -> Path:
    """Return the picture of the learning curves: beside the checkpoint, whose folder holds only what it attests."""
    return checkpoint.with_name(f"{checkpoint.name}.curves.png")
