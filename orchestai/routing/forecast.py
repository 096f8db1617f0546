"""What the learned router expects of every worker on some sub-tasks: success, price, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import tokens_of
from orchestai.contracts import TaskType, WorkerProfile
from orchestai.errors import InputError
from orchestai.routing.coldstart import Newcomer
from orchestai.routing.features import lexical_matrix
from orchestai.routing.model import Prediction, RouterModel
from orchestai.routing.timing import CallFacts

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NOBODY = -1
"""In `Forecast.base`: no candidate was ever observed, so that nothing is known."""


class Asked(NamedTuple):
    """One sub-task.

    Attributes:
        text: What is read to judge it.
        task_type: Its kind; bounds the answer.
        chars: Characters that the worker will read.
    """

    text: str
    task_type: TaskType
    chars: int


class Forecast(NamedTuple):
    """Expectations of S sub-tasks and W workers.

    Attributes:
        success: [S, W] calibrated probability of an accepted answer.
        success_if_known: [S, W] the same if the kind of task is a known one, for `policy.choose`.
        known: [S] probability that it is.
        cost_usd: [S, W] expected dollars; infinite where a worker may not do the sub-task.
        bound_usd: [S, W] dollars with an answer as long as allowed; infinite likewise.
        latency_ms: [S, W] expected milliseconds.
        base: [S] column of the best single worker, or of the one with the best record where that may not do the
            sub-task; `NOBODY` where no candidate has a record.
    """

    success: Array
    success_if_known: Array
    known: Array
    cost_usd: Array
    bound_usd: Array
    latency_ms: Array
    base: npt.NDArray[np.int64]


def forecast(
    model: RouterModel,
    newcomers: Mapping[str, Newcomer],
    asked: Sequence[Asked],
    embeddings: Array,
    profiles: Sequence[WorkerProfile],
    able: Mask,
) -> Forecast:
    """Say what to expect.

    Args:
        model: The router.
        newcomers: What is known of workers that joined after its training, by name.
        asked: The sub-tasks.
        embeddings: [S, H] unit vectors of their texts.
        profiles: The workers as they are now: names, prices.
        able: [S, W] whether a worker may do a sub-task; one that the router knows nothing of may not.

    Raises:
        InputError: The embeddings are not finite or of another size.
    """
    width = model.bank.shape[1]
    if embeddings.shape != (len(asked), width) or not np.isfinite(embeddings).all():
        raise InputError(
            f"The embedding must be {width} finite numbers, got the shape {embeddings.shape[1:]}.",
            remedy="Use the encoder that the router was trained with.",
        )
    found = model.predict(embeddings.astype(np.float64), lexical_matrix([each.text for each in asked]))
    columns = np.array([model.workers.index(each.name) if each.name in model.workers else -1 for each in profiles])
    success = _spread(found.success, columns)
    if_known = _spread(found.success_if_known, columns)
    for place, profile in enumerate(profiles):
        newcomer = newcomers.get(profile.name)
        if columns[place] < 0 and newcomer is not None:
            success[:, place] = newcomer.success(found.success)
            # As far as it resembles nobody, a switch to it is taken to lose as one in an unknown kind of task.
            risk = (1 - newcomer.trust) * model.policy.unknown_loss
            if_known[:, place] = np.clip(newcomer.success(found.success_if_known) - risk, 0.0, 1.0)
    usable = able & ~np.isnan(success)
    tokens = _tokens(found, columns, asked)
    read = np.array([float(tokens_of(each.chars)) for each in asked])[:, None]
    most = np.array([float(each.task_type.max_output_tokens) for each in asked])[:, None]
    prices = np.array([[each.input_usd_per_mtok, each.output_usd_per_mtok] for each in profiles]) / 1e6
    bound = read * prices[:, 0] + most * prices[:, 1]
    expected = read * prices[:, 0] + np.where(np.isnan(tokens), most, np.minimum(tokens, most)) * prices[:, 1]
    return Forecast(
        success=np.nan_to_num(success),
        success_if_known=np.nan_to_num(if_known),
        known=found.known,
        cost_usd=np.where(usable, expected, np.inf),
        bound_usd=np.where(usable, bound, np.inf),
        latency_ms=_latencies(model, profiles, read[:, 0], np.where(np.isnan(tokens), most, tokens)),
        base=_bases(model, columns, usable),
    )


def _spread(known: Array, columns: npt.NDArray[np.int64]) -> Array:
    """Columns of the catalog from those of the model; NaN for a worker that the model lacks."""
    return np.where(columns >= 0, known[:, columns], np.nan)


def _tokens(found: Prediction, columns: npt.NDArray[np.int64], asked: Sequence[Asked]) -> Array:
    """Expected length of each answer; that of a worker without record is the mean of the others."""
    tokens = _spread(found.output_tokens, columns)
    measured = ~np.isnan(found.output_tokens)
    mean = np.nansum(found.output_tokens, 1) / np.maximum(measured.sum(1), 1)
    mean = np.where(measured.any(1), mean, np.nan)
    return np.where(np.isnan(tokens), mean[:, None], tokens)


def _latencies(model: RouterModel, profiles: Sequence[WorkerProfile], read: Array, written: Array) -> Array:
    times = model.times
    found = np.tile(np.array([each.typical_latency_ms for each in profiles]), (len(read), 1))
    if times is not None:
        for place, profile in enumerate(profiles):
            if profile.name in times.levels:
                found[:, place] = [
                    times.mean_ms(profile.name, CallFacts(float(read[row]), float(written[row, place])))
                    for row in range(len(read))
                ]
    return found


def _bases(model: RouterModel, columns: npt.NDArray[np.int64], usable: Mask) -> npt.NDArray[np.int64]:
    record = np.where(columns >= 0, model.mean_scores[columns], -np.inf)
    record = np.where(columns == model.base, np.inf, record)
    standing = np.where(usable, record, -np.inf)
    return np.where(np.isneginf(standing.max(1)), NOBODY, standing.argmax(1)).astype(np.int64)
