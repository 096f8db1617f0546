"""Memorization: rows nearer to what was trained on than rows of a holdout are.

The data-copying test of Meehan et al. 2020 (arXiv:2004.05675): how often a row of the table lies nearer to its
nearest training row than a row of the holdout does to its own. Without a holdout it is not measurable; that copies
stand in the reference verbatim is then told by pattern repetition.
"""

from __future__ import annotations

import numpy as np

from orchestai.validation.calibrate import calibrated, unseen
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array, draw_weights, fit_bins

_LEAST_WORST = 0.2


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return how much nearer to the reference the table lies than the holdout."""
    holdout = given.holdout
    if holdout is None or len(holdout) < 20:
        return [], {}
    bins = fit_bins(holdout)
    size = len(bins.edges) + 1
    places = bins.of(holdout)
    held = np.bincount(places, minlength=size) / len(places)
    table = np.bincount(bins.of(given.table.nearest), minlength=size) / given.table.rows
    # Copies lie at distance 0; holdout rows that do so by nature cannot be told from them.
    worst = 1.0 - float((holdout <= 1e-4).mean())
    if worst < _LEAST_WORST:
        return [], {"holdout_at_distance_0": 1 - worst}
    draws, rows = given.settings.null_draws, given.table.rows

    def draw(rng: np.random.Generator) -> Array:
        hot = np.eye(size)[places]
        return nearer(draw_weights(rng, len(places), rows, draws) @ hot / rows, held)

    value = float(nearer(table, held))
    detail: dict[str, object] = {
        "median_distance": float(np.median(given.table.nearest)),
        "median_distance_holdout": float(np.median(holdout)),
        "share_at_distance_0": float((given.table.nearest <= 1e-4).mean()),
    }
    return [
        calibrated(
            "nearer to the reference than the holdout", value, given.healthy("nearer", (rows,), draw), worst, family=2
        ),
        _verbatim(given, given.rng(6)),
    ], detail


def _verbatim(given: Comparison, rng: np.random.Generator) -> Reading | None:
    """Return how many more rows than of the holdout stand in the reference word for word.

    Distances are to a sample of the reference; hashes see all of it.
    """
    holdout, reference = given.holdout_hashes, given.reference_state.exact
    if holdout is None:
        return None
    natural = holdout.share_in(reference)
    found = given.table_state.exact.share_in(reference)
    draws = given.settings.null_draws
    mine = rng.binomial(given.table_state.rows, natural, draws) / max(given.table_state.rows, 1)
    mine = mine + unseen(rng, draws, given.table_state.rows, holdout.total)
    others = rng.binomial(holdout.total, natural, draws) / max(holdout.total, 1)
    return calibrated(
        "verbatim rows beyond those of the holdout", found - natural, mine - others, 1 - natural, family=2
    )


def nearer(table: Array, holdout: Array) -> Array:
    """Return P(table < holdout) - P(table > holdout) over shares of the same bins (...,)."""
    below = np.cumsum(table, axis=-1) - table
    return np.asarray((below * holdout).sum(-1) - ((1 - below - table) * holdout).sum(-1))
