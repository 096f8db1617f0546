"""Workflows of an import's outcomes: real answers of real workers, on the shapes of plans."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from orchestai.catalog.estimate import estimate
from orchestai.contracts import Split
from orchestai.errors import DataError
from orchestai.importers.splits import normalized, split_by_hash
from orchestai.planner.learned import LearnedPlanner
from orchestai.routing.outcomes import OutcomeTable
from orchestai.training.composition import Questions, Shape, compose
from orchestai.training.workflows import Outcomes, Workflows

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def replayed_workflows(
    table: OutcomeTable,
    planner: LearnedPlanner,
    shapes: Sequence[Shape],
    *,
    counts: Mapping[str, int],
    most: int,
    seed: int,
) -> dict[str, Workflows]:
    """Compose workflows for each split; a question, by the hash of its text, is in one of them only.

    The state of a sub-task is that of its own text and type, as if it were an instruction. What is expected of a worker
    is its mean on the training questions. Where the data tell no price or time, the catalog's estimate stands.

    Args:
        table: Outcomes with texts.
        planner: Knows the import's task types and workers.
        shapes: Graphs to fill.
        counts: Workflows by split.
        most: Questions to use at most, by hash.
        seed: Of the composition.

    Raises:
        DataError: A split has too few questions, or a worker is not described.
    """
    rows = _without_repeats(table, most)
    table = table.take(rows)
    workers = [planner.workers[name] for name in table.workers]
    columns = [planner.workers.index(name) for name in table.workers]
    shape = (len(table), len(planner.workers))
    usable = np.zeros(shape, dtype=np.bool_)
    success, cost, latency = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    price = np.zeros(shape)
    for place, (column, worker) in enumerate(zip(columns, workers, strict=True)):
        tried = ~np.isnan(table.scores[:, place])
        usable[:, column] = tried
        success[:, column] = np.where(tried, table.scores[:, place], 0.0)
        price[:, column] = [
            estimate(worker, planner.tasks[family], len(text)).cost_usd
            for text, family in zip(table.texts, table.families, strict=True)
        ]
        paid, took = table.cost_usd[:, place], table.latency_ms[:, place]
        cost[:, column] = np.where(np.isnan(paid), price[:, column], paid)
        latency[:, column] = np.where(np.isnan(took), worker.typical_latency_ms, took)
    splits = np.array([split_by_hash(_digest(text)) for text in table.texts])
    known = splits == "train"
    tries = np.maximum((usable & known[:, None]).sum(0), 1)
    mean = (success * (usable & known[:, None])).sum(0) / tries
    typical = np.array([worker.typical_latency_ms for worker in planner.workers.profiles()])
    expected = Outcomes(np.broadcast_to(mean, shape).copy(), price, np.broadcast_to(typical, shape).copy())
    states = planner.selector_states(table.texts, [[family] for family in table.families])
    questions = Questions(
        np.stack([state[0].numpy() for state in states]), usable, expected, Outcomes(success, cost, latency)
    )
    best = int(mean.argmax())
    found: dict[str, Workflows] = {}
    for number, split in enumerate(_SPLITS):
        own = np.flatnonzero(splits == split)
        if not len(own):
            raise DataError(f"No question is in the {split} split.", remedy="Import more outcomes.")
        found[split] = compose(
            questions.take(own), shapes, count=counts[split], best_single=best, seed=seed * 3 + number
        )
    return found


def _without_repeats(table: OutcomeTable, most: int) -> list[int]:
    """Rows of different questions that somebody answered, at most so many, by hash."""
    first: dict[str, int] = {}
    for place, text in enumerate(table.texts):
        if not np.isnan(table.scores[place]).all():
            first.setdefault(_digest(text), place)
    return [first[key] for key in sorted(first)[:most]]


def _digest(text: str) -> str:
    return hashlib.sha256(normalized(text).encode("utf-8", "surrogatepass")).hexdigest()
