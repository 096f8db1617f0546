"""The learned planner for benchmarks: trained here or loaded from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.splits import Parts
from orchestai.config import Phase1Config, PlannerConfig
from orchestai.contracts import PlanPredictor, TaskCatalog, WorkerCatalog, WorkerProfile
from orchestai.embeddings.protocol import TextEncoder

ANYBODY = WorkerCatalog(
    workers=(WorkerProfile(name="anybody", model="anybody", description="Does every kind of task."),)
)
"""Stands for the workers where a benchmark has none: choosing among one is always right."""


def train_learned(
    parts: Parts,
    *,
    tasks: TaskCatalog,
    encoder: TextEncoder,
    seed: int,
    epochs: int | None,
    out: Path,
    workers: WorkerCatalog = ANYBODY,
    recipe: Phase1Config | None = None,
    sizes: PlannerConfig | None = None,
    plan_with: TaskCatalog | None = None,
) -> PlanPredictor:
    """Train on train, stop and calibrate on validation; the test part is not handed over.

    Args:
        parts: The examples.
        tasks: Task types to train on.
        encoder: Text encoder.
        seed: Of the training.
        epochs: Passes over the data; None means the recipe's.
        out: Folder for the checkpoint; one that is there already is taken, a killed training goes on.
        workers: Workers to choose from.
        recipe: Numbers of the training; None means the defaults.
        sizes: Sizes of the network; None means the defaults.
        plan_with: Task types to plan with afterwards; None means those trained on.

    Raises:
        OrchestAIError: The data cannot be trained on.
    """
    from orchestai.training import phase1

    changes = {"seed": seed} if epochs is None else {"seed": seed, "epochs": epochs}
    config = (recipe or Phase1Config()).model_copy(update=changes)
    data = [e.model_copy(update={"split": "train"}) for e in parts.train]
    data += [e.model_copy(update={"split": "validation"}) for e in parts.validation]
    if not (out / "manifest.json").is_file():  # written last: a checkpoint that has one is complete
        phase1.train(
            config,
            data,
            tasks=tasks,
            workers=workers,
            encoder=encoder,
            out=out,
            planner=sizes or PlannerConfig(),
        )
    return load_learned(out, tasks=plan_with or tasks, encoder=encoder, workers=workers)


def load_learned(
    checkpoint: Path, *, tasks: TaskCatalog, encoder: TextEncoder, workers: WorkerCatalog = ANYBODY
) -> PlanPredictor:
    """Load a checkpoint for the task types of a benchmark.

    Raises:
        CheckpointError: It is damaged or was trained with another encoder.
    """
    from orchestai.planner.learned import LearnedPlanner

    return LearnedPlanner.load(checkpoint, encoder=encoder, tasks=tasks, workers=workers)


def training_cost(checkpoint: Path) -> dict[str, Any]:
    """What the training of a checkpoint took: `wall_s` and `cpu_s`; empty where there is none.

    Raises:
        CheckpointError: It is damaged.
    """
    from orchestai.checkpoint import load_checkpoint

    if not (checkpoint / "manifest.json").is_file():
        return {}
    cost = load_checkpoint(checkpoint).manifest.notes.get("cost", {})
    return {"training": cost} if cost else {}
