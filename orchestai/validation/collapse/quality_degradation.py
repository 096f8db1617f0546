"""Quality degradation: rows outside the reference's support, wrong labels, missing and impossible values.

Support by the alpha-precision of Alaa et al. 2022 (arXiv:2102.08921), over distances to the third nearest reference
row, all alphas at once. Label errors in the spirit of confident learning (Northcutt et al. 2021): the share of rows
whose label is drawn from the other classes, by maximum likelihood over out-of-fold probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.calibrate import calibrated
from orchestai.validation.collapse.memorization import nearer
from orchestai.validation.columns import NULL
from orchestai.validation.compare import Comparison
from orchestai.validation.result import Reading
from orchestai.validation.summary import Array, Described, draw_weights

_LEAST_SKILL = 1.1
"""Out-of-fold accuracy over that of the commonest class, below which labels cannot be judged."""
_LEAST = 0.02
_RATES = np.linspace(-_LEAST, 1.0, 103)
"""Below 0 where labels fit better than the model expects: cut off there, small rates would drown in the cut."""


def measure(given: Comparison) -> tuple[list[Reading | None], dict[str, object]]:
    """Return rows outside the support, label errors, and missing values beyond those of the reference."""
    typical = given.table_summary.marks["typicality"], given.reference_summary.marks["typicality"]
    null_typical = given.null_tables.marks["typicality"], given.null_references.marks["typicality"]
    missing, reference_missing = (
        summary.columns[..., NULL].mean(-1) for summary in (given.table_summary, given.reference_summary)
    )
    null_missing = given.null_tables.columns[..., NULL].mean(-1) - given.null_references.columns[..., NULL].mean(-1)
    bad = _bad_share(given)
    labels, detail = _label_errors(given)
    detail |= {"missing": float(missing), "missing_reference": float(reference_missing), "impossible_values": bad}
    return [
        calibrated("rows outside the support", float(-nearer(*typical)), -nearer(*null_typical), 1.0, family=3),
        labels,
        calibrated(
            "missing values", float(missing - reference_missing), null_missing, 1 - float(reference_missing), family=3
        ),
        calibrated("impossible values", bad, np.zeros(given.settings.null_draws), 1.0),
    ], detail


def label_error_rate(own: Array, weights: Array) -> Array:
    """Return the share of labels drawn from the other classes that is most likely (draws,).

    Each label is the model's with probability 1 - r and one of the others with r: the likelihood of a row is
    `(1 - r) p + r (1 - p)`, which is concave in r, so that a grid finds the best.

    Args:
        own: Probability of each bin's own label, over two classes: `p / (p + mean of the others)` (bins,).
        weights: Share of each bin (draws, bins).
    """
    own = own.clip(2 * _LEAST, 1 - 2 * _LEAST)
    likely = np.log((1 - _RATES[:, None]) * own + _RATES[:, None] * (1 - own))  # (rates, bins)
    total = weights @ likely.T  # (draws, rates)
    best = total.argmax(-1)
    # A parabola through the three best rates: the grid alone would round small rates away.
    inner = best.clip(1, len(_RATES) - 2)
    rows = np.arange(len(total))
    left, middle, right = total[rows, inner - 1], total[rows, inner], total[rows, inner + 1]
    curve = left - 2 * middle + right
    shift = np.divide(0.5 * (left - right), curve, out=np.zeros_like(curve), where=curve < 0)
    return np.asarray((_RATES[inner] + shift * (_RATES[1] - _RATES[0])).clip(_RATES[0], 1))


def balanced_odds(own: NDArray[np.float32], classes: int) -> Array:
    """Return `p / (p + mean of the others)`: what a label has against one other label drawn at random (n,)."""
    p = own.astype(np.float64).clip(1e-3, 1 - 1e-3)
    return np.asarray(p / (p + (1 - p) / max(classes - 1, 1)))


def _label_errors(given: Comparison) -> tuple[Reading | None, dict[str, object]]:
    table, reference, target = given.table, given.reference, given.target
    if target is None or target.kind == "self-supervised":
        return None, {}
    own, own_reference = _known(table), _known(reference)
    if len(own) < 50 or len(own_reference) < 50 or reference.classes is None or reference.probabilities is None:
        return None, {}
    accuracy = float((reference.probabilities.argmax(1) == reference.classes)[reference.classes >= 0].mean())
    baseline = float(np.bincount(reference.classes[reference.classes >= 0]).max() / len(own_reference))
    detail: dict[str, object] = {"label_accuracy_reference": accuracy}
    if accuracy < baseline + (1 - baseline) * (_LEAST_SKILL - 1):
        return None, {**detail, "labels": "cannot be predicted well enough to judge them"}
    odds, odds_reference = (balanced_odds(values, target.classes) for values in (own, own_reference))
    edges = np.unique(np.quantile(odds_reference, np.linspace(0, 1, 257)[1:-1]))
    size = len(edges) + 1
    places = np.searchsorted(edges, odds_reference)
    level = np.bincount(places, weights=odds_reference, minlength=size) / np.bincount(places, minlength=size).clip(1)
    level = np.where(level > 0, level, 0.5)
    hot = np.eye(size)[places]
    draws, rows = given.settings.null_draws, len(own)
    base = float(label_error_rate(level, hot.mean(0)[None])[0])

    def draw(rng: np.random.Generator) -> Array:
        mine = draw_weights(rng, len(places), rows, draws) @ hot / rows
        return label_error_rate(level, mine) - base

    null = given.healthy("label errors", (rows,), draw)
    shares = np.bincount(np.searchsorted(edges, odds), minlength=size)[None] / len(own)
    rate = float(label_error_rate(level, shares)[0])
    # Labels drawn at random among k classes are wrong in 1 - 1/k of the rows, and half of them against one other.
    worst = 0.5 - base
    detail |= {"label_error_rate": rate, "label_error_rate_reference": base}
    return calibrated("label errors", rate - base, null, worst, family=3), detail


def _known(described: Described) -> NDArray[np.float32]:
    if described.own_probability is None:
        return np.empty(0, np.float32)
    return described.own_probability[np.isfinite(described.own_probability)]


def _bad_share(given: Comparison) -> float:
    """Return the share of impossible values in the worst column, beyond that of the reference."""
    table, reference = given.table_state, given.reference_state
    if not len(table.bad_cells):
        return 0.0
    excess = table.bad_cells / max(table.rows, 1) - reference.bad_cells / max(reference.rows, 1)
    return max(float(excess.max()), 0.0)
