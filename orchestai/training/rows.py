"""From examples to training rows: checks, splits, embeddings, and what is fitted before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from orchestai.contracts import MAX_SUBTASKS, PlanExample, Split, TaskCatalog, WorkerCatalog
from orchestai.embeddings.protocol import TextEncoder, pool
from orchestai.errors import DataError, InputError
from orchestai.planner.agreement import PlanShape
from orchestai.planner.hints import CatalogHints, HintWeights, ridge_scores
from orchestai.planner.model import transition_prior
from orchestai.training.batches import UNKNOWN, Row
from orchestai.training.hint_rows import cross_fitted_hints
from orchestai.training.synthesize import is_synthetic


class PlannerData(NamedTuple):
    """Rows by split, and what was fitted on the training rows."""

    train: list[Row]
    validation: list[Row]
    hints: HintWeights
    transitions: torch.Tensor  # (K + 1, K)
    linked: bool  # every training plan of several sub-tasks is a chain
    longest: int  # sub-tasks of the longest training plan
    digest: str


class Sorted(NamedTuple):
    """Checked examples by split, with their plans."""

    train: list[PlanExample]
    validation: list[PlanExample]
    shapes: list[PlanShape]
    held_shapes: list[PlanShape]
    digest: str


class Features(NamedTuple):
    """Fitted hints, and what they say of N training and V validation rows."""

    hints: HintWeights
    train: npt.NDArray[np.float32]  # (N, K, features), cross-fitted
    held: npt.NDArray[np.float32]  # (V, K, features)


def sort_examples(examples: Sequence[PlanExample], tasks: TaskCatalog, *, max_subtasks: int = MAX_SUBTASKS) -> Sorted:
    """Check and split the examples.

    Raises:
        DataError: There is no training example, or one does not fit the catalog.
    """
    splits: dict[Split, list[PlanExample]] = {"train": [], "validation": [], "test": []}
    for example in examples:
        splits[assign_split(example)].append(example)
    train, validation = splits["train"], splits["validation"]
    if not train:
        raise DataError(
            f"None of the {len(examples)} examples is in the training split.",
            remedy="Give more examples, or set their `split` to 'train'.",
        )
    shapes = [plan_shape(example, tasks, max_subtasks=max_subtasks) for example in train]
    held_shapes = [plan_shape(example, tasks, max_subtasks=max_subtasks) for example in validation]
    return Sorted(train, validation, shapes, held_shapes, _digest(train, validation))


def word_features(examples: Sorted, tasks: TaskCatalog, encoder: TextEncoder) -> Features:
    """Hints from the words alone, for an encoder that is going to change: its vectors would fit no longer."""
    width = encoder.hidden_size
    return _features(
        examples,
        tasks,
        np.zeros((len(examples.train), width), dtype=np.float32),
        np.zeros((len(examples.validation), width), dtype=np.float32),
    )


def type_counts(shapes: Sequence[PlanShape], kinds: int) -> torch.Tensor:
    """How often each type occurs in each plan: [N, K]."""
    counts = torch.zeros(len(shapes), kinds)
    for row, shape in enumerate(shapes):
        for kind in shape.types:
            counts[row, kind] += 1
    return counts


def prepare_rows(
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    encoder: TextEncoder,
    max_subtasks: int = MAX_SUBTASKS,
    features: Features | None = None,
) -> PlannerData:
    """Check, split and encode the examples, and fit the hints on the training split unless they are given.

    Raises:
        DataError: There is no training example, or one does not fit the catalog.
    """
    found = sort_examples(examples, tasks, max_subtasks=max_subtasks)
    states, pooled = _encode(encoder, found.train)
    held_states, held_pooled = _encode(encoder, found.validation)
    features = features or _features(found, tasks, pooled, held_pooled)
    longer = [shape for shape in found.shapes if len(shape.types) > 1]
    return PlannerData(
        train=_rows(found.train, found.shapes, states, pooled, features.train, workers),
        validation=_rows(found.validation, found.held_shapes, held_states, held_pooled, features.held, workers),
        hints=features.hints,
        transitions=transition_prior([shape.types for shape in found.shapes], len(tasks)),
        linked=bool(longer) and all(_is_chain(shape) for shape in longer),
        longest=max(len(shape.types) for shape in found.shapes),
        digest=found.digest,
    )


def check_catalog(tasks: TaskCatalog) -> None:
    """Refuse a catalog whose types cannot be told apart.

    Raises:
        InputError: Two have the same name and description but for case.
    """
    seen: dict[str, str] = {}
    for kind in tasks.types:
        text = f"{kind.name} {kind.description}".casefold()
        if text in seen:
            raise InputError(
                f"The task types {seen[text]!r} and {kind.name!r} have the same name and description.",
                remedy="Say how they differ; the planner reads descriptions.",
            )
        seen[text] = kind.name


def assign_split(example: PlanExample, *, train: int = 60, validation: int = 20) -> Split:
    """Return the split of an example: its own, or by the hash of its group (else of its id)."""
    if example.split is not None:
        return example.split
    place = int(hashlib.sha256((example.group or example.id).encode()).hexdigest(), 16) % 100
    if place < train:
        return "train"
    return "validation" if place < train + validation else "test"


def plan_shape(example: PlanExample, tasks: TaskCatalog, *, max_subtasks: int = MAX_SUBTASKS) -> PlanShape:
    """Types by index and parents of an example.

    Raises:
        DataError: A type is not in the catalog, or the plan is empty, too long or not in topological order.
    """
    size = len(example.task_types)
    if not 1 <= size <= max_subtasks:
        raise DataError(
            f"The example {example.id!r} has {size} sub-tasks; 1 to {max_subtasks} are allowed.",
            remedy="Split or drop it.",
        )
    if len(example.dependencies) != size or any(
        not 0 <= parent < child for child, parents in enumerate(example.dependencies) for parent in parents
    ):
        raise DataError(
            f"The example {example.id!r} does not list parents before children.",
            remedy="Sort its sub-tasks topologically.",
        )
    names = {name: index for index, name in enumerate(tasks.names)}
    unknown = sorted(set(example.task_types) - set(names))
    if unknown:
        raise DataError(
            f"The example {example.id!r} has the task type {unknown[0]!r}, which the catalog does not know.",
            remedy="Train with the catalog that the examples were made for, or describe the type in it.",
        )
    return PlanShape(tuple(names[name] for name in example.task_types), example.dependencies)


def selection_targets(example: PlanExample, workers: WorkerCatalog) -> tuple[int, ...]:
    """Worker index a node; UNKNOWN where the outcome is not known or the worker has left the catalog."""
    if example.model_selections is None:
        return (UNKNOWN,) * len(example.task_types)
    if len(example.model_selections) != len(example.task_types):
        raise DataError(
            f"The example {example.id!r} has {len(example.task_types)} sub-tasks "
            f"but {len(example.model_selections)} selections.",
            remedy="Give one worker a sub-task.",
        )
    known = {name: index for index, name in enumerate(workers.names)}
    return tuple(known.get(name, UNKNOWN) for name in example.model_selections)


def _features(
    examples: Sorted, tasks: TaskCatalog, pooled: npt.NDArray[np.float32], held_pooled: npt.NDArray[np.float32]
) -> Features:
    texts = [example.instruction for example in examples.train]
    held_texts = [example.instruction for example in examples.validation]
    presence = (type_counts(examples.shapes, len(tasks)) > 0).float().numpy()
    groups = [example.group or example.id for example in examples.train]
    made = np.array([is_synthetic(example) for example in examples.train])
    hints, scores = cross_fitted_hints(texts, pooled, presence, groups, made)
    held_scores = ridge_scores(hints, held_texts, held_pooled)
    described = CatalogHints(tasks)
    return Features(
        hints=hints,
        train=np.concatenate([scores[..., None], described(texts)], axis=-1),
        held=np.concatenate([held_scores[..., None], described(held_texts)], axis=-1),
    )


def _encode(
    encoder: TextEncoder, examples: Sequence[PlanExample]
) -> tuple[list[npt.NDArray[np.float16]], npt.NDArray[np.float32]]:
    """Unpadded token states of each instruction, and the pooled embeddings."""
    states: list[npt.NDArray[np.float16]] = []
    pooled = [np.zeros((0, encoder.hidden_size), dtype=np.float32)]
    for start in range(0, len(examples), 64):
        tokens = encoder.encode_tokens([example.instruction for example in examples[start : start + 64]])
        states += [row[real].astype(np.float16) for row, real in zip(*tokens, strict=True)]
        pooled.append(pool(tokens))
    return states, np.concatenate(pooled)


def _rows(
    examples: Sequence[PlanExample],
    shapes: Sequence[PlanShape],
    states: Sequence[npt.NDArray[np.float16]],
    pooled: npt.NDArray[np.float32],
    hints: npt.NDArray[np.float32],
    workers: WorkerCatalog,
) -> list[Row]:
    return [
        Row(
            states=states[index],
            embedding=pooled[index],
            hints=hints[index],
            shape=shapes[index],
            selections=selection_targets(example, workers),
            imitation=example.imitation,
            complexities=example.complexities or (-1.0,) * len(example.task_types),
        )
        for index, example in enumerate(examples)
    ]


def _is_chain(shape: PlanShape) -> bool:
    return all(parents == ((child - 1,) if child else ()) for child, parents in enumerate(shape.parents))


def _digest(train: Sequence[PlanExample], validation: Sequence[PlanExample]) -> str:
    digest = hashlib.sha256()
    for name, examples in (("train", train), ("validation", validation)):
        for example in examples:
            digest.update(f"{name}\0{example.model_dump_json()}\n".encode())
    return digest.hexdigest()
