"""What a router must beat, fitted on the training side only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.evaluation.routing import auc, expected_calibration_error, paired_interval
from orchestai.routing.families import fit_families
from orchestai.routing.outcomes import OutcomeTable
from orchestai.routing.retrieval import recall
from orchestai.training.router import RouterData

Array = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

_FOLDS = 4


class Baseline(NamedTuple):
    """Choices of one method on the test side, and its success probabilities where it has them."""

    chosen: Columns
    success: Array | None


def baselines(train: RouterData, test: RouterData, *, base: int, seed: int) -> dict[str, Baseline]:
    """Fit them all.

    Args:
        train: What may be learned from.
        test: Of this, only the features are read, and for `oracle` the scores.
        base: Column of the best single worker of the training side.
        seed: Of the random choice and of the folds on which k and rank are chosen.
    """
    rows, workers = test.table.scores.shape
    generator = np.random.default_rng(seed)
    usable = ~np.isnan(test.table.scores)
    cheapest = np.where(usable, test.expected_usd, np.inf).argmin(1)
    draws = np.where(usable, generator.random((rows, workers)), -1.0).argmax(1)
    knn = _knn(train, test, seed)
    family = _family_mean(train.table, test.table)
    factors = _factorization(train, test, seed)
    found = {
        "best_single": Baseline(np.full(rows, base), None),
        "cheapest": Baseline(cheapest.astype(np.int64), None),
        "random": Baseline(draws.astype(np.int64), None),
        "knn": Baseline(_best(knn, usable), knn),
        "family_mean": Baseline(_best(family, usable), family),
        "matrix_factorization": Baseline(_best(factors, usable), factors),
        "oracle": Baseline(_oracle(test), None),
    }
    mixed = (knn + factors) / 2
    found["knn_and_factorization"] = Baseline(_best(mixed, usable), mixed)
    return found


def measured(chosen: Columns, success: Array | None, table: OutcomeTable, base: int) -> dict[str, Any]:
    """Measure choices: accuracy in percent, dollars a thousand, gain over the best single worker."""
    rows = np.arange(len(table))
    reached = table.scores[rows, chosen]
    gain = paired_interval(100 * (reached - table.scores[:, base]))
    found: dict[str, Any] = {
        "accuracy": 100 * float(np.nanmean(reached)),
        "mean_price": 1000 * float(np.nanmean(table.cost_usd[rows, chosen])),
        "gain": gain._asdict(),
    }
    if success is not None:
        tried = ~np.isnan(table.scores)
        found["auc"] = auc(success[tried], table.scores[tried])
        found["ece"] = expected_calibration_error(np.clip(success[tried], 0, 1), table.scores[tried])
    return found


def mean_scores(scores: Array) -> Array:
    """Mean of each column over what was tried."""
    tried = (~np.isnan(scores)).sum(0)
    return np.asarray((np.nansum(scores, 0) + 1) / (tried + 2), dtype=np.float64)


def _best(success: Array, usable: npt.NDArray[np.bool_]) -> Columns:
    return np.asarray(np.where(usable, success, -np.inf).argmax(1), dtype=np.int64)


def _oracle(test: RouterData) -> Columns:
    """The cheapest of those that did best."""
    scores = np.where(np.isnan(test.table.scores), -1.0, test.table.scores)
    best = scores == scores.max(1, keepdims=True)
    return np.asarray(np.where(best, test.table.cost_usd, np.inf).argmin(1), dtype=np.int64)


def _folds(size: int, seed: int) -> Columns:
    return np.asarray(np.random.default_rng(seed).integers(0, _FOLDS, size), dtype=np.int64)


def _routed(success: Array, scores: Array) -> float:
    return float(np.nanmean(scores[np.arange(len(scores)), _best(success, ~np.isnan(scores))]))


def _knn(train: RouterData, test: RouterData, seed: int) -> Array:
    def run(known: RouterData, asked: RouterData, neighbours: int) -> Array:
        scores = known.table.scores
        bank = known.embeddings.astype(np.float32)
        return recall(asked.embeddings, bank, scores, mean_scores(scores), neighbours=neighbours)

    held = _folds(len(train.table), seed) == 0
    part, rest = train.take(held), train.take(~held)
    best = max((10, 30, 50, 100), key=lambda k: _routed(run(rest, part, k), part.table.scores))
    return run(train, test, best)


def _family_mean(train: OutcomeTable, test: OutcomeTable) -> Array:
    """Mean of the true family, which a router is not told; of a family that train lacks, the mean over all."""
    families = np.array(train.families)
    overall = mean_scores(train.scores)
    means = {name: mean_scores(train.scores[families == name]) for name in train.family_names}
    return np.stack([means.get(name, overall) for name in test.families])


def _factorization(train: RouterData, test: RouterData, seed: int) -> Array:
    """Low-rank outcomes: factors of the score matrix (missing ones at their mean), regressed on the features."""

    def run(known: RouterData, asked: RouterData, rank: int, ridge: float) -> Array:
        scaler = fit_families(known.embeddings, known.lexical, known.table.families)
        inputs, wanted = (scaler.inputs(each.embeddings, each.lexical) for each in (known, asked))
        level = mean_scores(known.table.scores)
        rest = np.nan_to_num(known.table.scores - level)
        centre = inputs.mean(0)
        design = inputs - centre
        left, values, right = np.linalg.svd(rest, full_matrices=False)
        factors = left[:, :rank] * values[:rank]
        weights = np.linalg.solve(design.T @ design + ridge * np.eye(design.shape[1]), design.T @ factors)
        return np.asarray(np.clip(level + (wanted - centre) @ weights @ right[:rank], 0, 1), dtype=np.float64)

    held = _folds(len(train.table), seed) == 0
    part, rest = train.take(held), train.take(~held)
    most = min(train.table.scores.shape)
    choices = [(rank, ridge) for rank in (2, 4, 8) if rank <= most for ridge in (300.0, 1000.0, 3000.0)]
    best = max(choices, key=lambda each: _routed(run(rest, part, *each), part.table.scores))
    return run(train, test, *best)
