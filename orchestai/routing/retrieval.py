"""What became of the most similar sub-tasks of the past."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

NEIGHBOURS = 50
_SHARPNESS = 20.0
_PRIOR_WEIGHT = 0.05


def recall(
    queries: Array, bank: npt.NDArray[np.float32], scores: Array, prior: Array, *, neighbours: int = NEIGHBOURS
) -> Array:
    """Average the scores of the nearest sub-tasks, the nearer the heavier.

    Args:
        queries: [N, H] unit vectors.
        bank: [M, H] unit vectors of the past.
        scores: [M, W] what became of them; NaN where a worker was not tried.
        prior: [W] what to believe of a worker that no neighbour tried.
        neighbours: How many count.

    Returns:
        [N, W] expected scores.
    """
    count = min(neighbours, len(bank))
    cosines = queries.astype(np.float32) @ bank.T  # (N, M)
    places = np.argpartition(-cosines, count - 1, axis=1)[:, :count]  # (N, count)
    near = np.take_along_axis(cosines, places, axis=1).astype(np.float64)
    weights = np.exp(_SHARPNESS * (near - near.max(1, keepdims=True)))
    weights /= weights.sum(1, keepdims=True)
    found = scores[places]  # (N, count, W)
    tried = ~np.isnan(found)
    total = np.einsum("nc,ncw->nw", weights, np.where(tried, found, 0.0))
    mass = np.einsum("nc,ncw->nw", weights, tried.astype(np.float64))
    return np.asarray((total + _PRIOR_WEIGHT * prior) / (mass + _PRIOR_WEIGHT), dtype=np.float64)
