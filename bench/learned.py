"""The learned planner for benchmarks: trained here or loaded from a checkpoint."""

from __future__ import annotations

from pathlib import Path

from bench.splits import Parts
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
) -> PlanPredictor:
    """Train on train, stop and calibrate on validation; the test part is not handed over.

    Raises:
        OrchestAIError: The data cannot be trained on.
    """
    from orchestai.config import Phase1Config
    from orchestai.training import phase1

    config = Phase1Config(seed=seed) if epochs is None else Phase1Config(seed=seed, epochs=epochs)
    data = [e.model_copy(update={"split": "train"}) for e in parts.train]
    data += [e.model_copy(update={"split": "validation"}) for e in parts.validation]
    phase1.train(config, data, tasks=tasks, workers=workers, encoder=encoder, out=out)
    return load_learned(out, tasks=tasks, encoder=encoder, workers=workers)


def load_learned(
    checkpoint: Path, *, tasks: TaskCatalog, encoder: TextEncoder, workers: WorkerCatalog = ANYBODY
) -> PlanPredictor:
    """Load a checkpoint for the task types of a benchmark.

    Raises:
        CheckpointError: It is damaged or was trained with another encoder.
    """
    from orchestai.planner.learned import LearnedPlanner

    return LearnedPlanner.load(checkpoint, encoder=encoder, tasks=tasks, workers=workers)
