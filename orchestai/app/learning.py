"""Training and evaluation as the hosts call them: data are found, catalogs chosen, baselines fitted alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.app.batch import load_predictor
from orchestai.catalog import CATALOG_FILE, read_catalog
from orchestai.config import Phase1Config, Project
from orchestai.contracts import PlanExample, PlanPredictor, TaskCatalog, WorkerCatalog
from orchestai.errors import DataError
from orchestai.planner.rules import RulesPlanner

if TYPE_CHECKING:
    from orchestai.training.phase1 import TrainResult


def read_examples(project: Project, folder: Path) -> tuple[list[PlanExample], TaskCatalog, WorkerCatalog]:
    """Read what there is to learn from: an import (it brings its catalog) or prepared training data.

    Raises:
        DataError: The folder holds neither.
    """
    if (folder / CATALOG_FILE).exists():
        from orchestai.importers import read_plans
        from orchestai.importers.splits import split_by_hash

        catalog = read_catalog(folder)
        examples = [
            example if example.split else example.model_copy(update={"split": split_by_hash(example.group)})
            for example in read_plans(folder)
        ]
        return examples, catalog.tasks, catalog.workers or project.workers
    from orchestai.training.prepare import read_training_data

    return read_training_data(folder).examples, project.tasks, project.workers


def train_phase1(
    project: Project,
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    out: Path,
    config: Phase1Config | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train the planner on `examples` and save the best checkpoint to `out`.

    As many synthetic examples as `training.synthetic` says join the training split.

    Raises:
        DataError: There are too few examples.
        StorageError: The checkpoint cannot be written.
    """
    check_enough(project, examples)
    return fit_phase1(
        project, examples, tasks=tasks, workers=workers, out=out, config=config, on_epoch=on_epoch, resume=resume
    )


def check_enough(project: Project, examples: Sequence[PlanExample]) -> None:
    """Refuse to learn from too little.

    Raises:
        DataError: There are fewer examples, of all splits together, than `training.min_rows`.
    """
    if len(examples) < project.training.min_rows:
        raise DataError(
            f"There are {len(examples)} examples; training needs at least {project.training.min_rows}.",
            remedy="Collect more (`orchestai collect`), or lower training.min_rows.",
        )


def fit_phase1(
    project: Project,
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    out: Path,
    config: Phase1Config | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train as `train_phase1` does, however few the examples are.

    Raises:
        DataError: There is nothing to train on.
        StorageError: The checkpoint cannot be written.
    """
    from orchestai.embeddings import load_encoder
    from orchestai.training.phase1 import train
    from orchestai.training.synthesize import with_synthetic

    recipe = config or project.training.phase1
    synthetic = project.training.synthetic
    more = with_synthetic(
        examples,
        rows=synthetic.rows,
        seed=synthetic.seed,
        tasks=tasks,
        max_subtasks=project.planner.max_subtasks,
    )
    return train(
        recipe,
        more,
        tasks=tasks,
        workers=workers,
        encoder=load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings),
        out=out,
        planner=project.planner,
        on_epoch=on_epoch,
        resume=resume,
    )


def predictors(
    project: Project,
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    checkpoint: Path | None,
) -> dict[str, PlanPredictor]:
    """Return the learned planner and its baselines; of the test split they see nothing.

    Raises:
        CheckpointError: The checkpoint cannot be used.
    """
    from orchestai.embeddings import load_encoder
    from orchestai.evaluation.baselines import NearestPlan
    from orchestai.evaluation.ridge import KernelRidgePlanner

    encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
    train = [example for example in examples if example.split == "train"]
    validation = [example for example in examples if example.split == "validation"]
    learned, name = load_predictor(project, tasks, checkpoint)
    found: dict[str, PlanPredictor] = {name: learned, "rules": RulesPlanner(tasks)}
    if train and validation:
        found["nn_copy"] = NearestPlan(train, validation, encoder)
        found["kernel_ridge"] = KernelRidgePlanner(train, validation, encoder)
    return found


def evaluate_checkpoint(project: Project, folder: Path, checkpoint: Path | None, split: str) -> dict[str, Any]:
    """Measure the learned planner and its baselines on one split of the data in `folder`.

    Raises:
        DataError: The data are missing, or the split is empty.
        CheckpointError: The checkpoint cannot be used.
    """
    from orchestai.evaluation.evaluate import evaluate_predictor

    examples, tasks, _ = read_examples(project, folder)
    chosen = [example for example in examples if example.split == split]
    if not chosen:
        raise DataError(f"{folder} has no examples of the split {split!r}.", remedy="Use train, validation or test.")
    found = predictors(project, examples, tasks=tasks, checkpoint=checkpoint)
    return {
        "data": str(folder),
        "split": split,
        "examples": len(chosen),
        "planners": {name: evaluate_predictor(predictor, chosen, tasks=tasks) for name, predictor in found.items()},
    }
