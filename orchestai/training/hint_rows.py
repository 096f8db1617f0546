"""Ridge scores for real and synthetic rows together, none fitted on the row itself or on its phrases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestai.planner.hints import HintWeights, _bags, _weigh, fit_hints

_FOLDS = 10
_PENALTY = 1.0

Array = npt.NDArray[np.float32]


def cross_fitted_hints(
    texts: Sequence[str], pooled: Array, presence: Array, groups: Sequence[str], synthetic: npt.NDArray[np.bool_]
) -> tuple[HintWeights, Array]:
    """Fit the ridge on all rows; return it with scores of rows that it had not seen.

    Synthetic rows share phrases. Were they scored by a ridge that knows the phrases, it would look surer than
    it is of real instructions, and the network would learn to trust it. Their groups are phrase folds: rows of
    one fold share no phrase with those of another, so a fold left out is honest.

    What a ridge says of a group G that was left out follows from one inverse A of its regularised kernel:
    y_G - A_GG^-1 (A y)_G (block version of the leave-one-out formula; Rasmussen & Williams 2006, eq. 5.12).

    Args:
        texts: N instructions.
        pooled: [N, H] embeddings.
        presence: [N, K], 1 where the plan has the type.
        groups: One a row; rows of a group never help each other.
        synthetic: [N], where rows are synthetic.
    """
    if not synthetic.any():
        return fit_hints(texts, pooled, presence, groups)
    counts = _bags(texts)  # (N, V)
    seen = np.asarray((counts > 0).sum(axis=0)).ravel()
    idf = np.where(seen > 0, np.log((1 + len(texts)) / (1 + seen)) + 1.0, 0.0).astype(np.float32)
    words = _weigh(counts, idf)
    kernel = (words @ words.T).toarray() + pooled @ pooled.T  # (N, N)
    kernel[np.diag_indices_from(kernel)] += _PENALTY
    inverse = np.linalg.inv(kernel)
    mean = presence.mean(axis=0)
    centred = presence - mean
    dual = inverse @ centred  # (N, K)
    scores = np.zeros_like(presence)
    folds = np.array([_fold(group, made) for group, made in zip(groups, synthetic, strict=True)])
    for fold in np.unique(folds):
        held = np.flatnonzero(folds == fold)
        residual = np.linalg.solve(inverse[np.ix_(held, held)], dual[held])
        scores[held] = presence[held] - residual
    weights = HintWeights(
        idf=idf,
        words=np.asarray(words.T @ dual, dtype=np.float32),
        embedding=np.asarray(pooled.T @ dual, dtype=np.float32),
        mean=mean.astype(np.float32),
    )
    return weights, scores.astype(np.float32)


def _fold(group: str, made: bool) -> str:
    return group if made else str(int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % _FOLDS)
