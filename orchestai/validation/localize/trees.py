"""What trees think of a table's labels, each row by trees that never saw it.

Two forests of fully different split rules, out of bag (Breiman 2001; extremely randomised: Geurts et al. 2006). Leaves
of at least eight rows: a leaf of one row repeats a wrong label with full confidence. For two classes and enough rows
gradient-boosted trees join in, fitted twice: the second time without the rows that all three contradict.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestai.validation.encode import Encoder
from orchestai.validation.states.table import SampleRows
from orchestai.validation.target import Target

FEWEST = 40
"""Rows with a label below which nothing is learned."""
_LEAF = 8
_FEW_ROWS = 5_000
_FOLDS = 5
_BOOSTED_ROWS = 3_000
_DOUBTED = 0.35
_WIDEST = 32
_LEAST = 1e-4

Table = NDArray[np.float32]


def tree_inputs(encoder: Encoder, target: Target, rows: SampleRows) -> Table:
    """Return numbers as they are and levels as their codes, without the target (n, width).

    Args:
        encoder: How the table is read.
        target: What is predicted.
        rows: Encoded rows.
    """
    blocks: list[Any] = []
    for place, column in enumerate(encoder.used):
        if place == target.place:
            continue
        if column.kind == "category":
            blocks.append(rows.codes[:, place : place + 1])
        else:
            blocks.append(rows.features[:, encoder.feature_columns == place])
    return np.concatenate(blocks, axis=1).astype(np.float32) if blocks else np.zeros((len(rows.codes), 0), np.float32)


def opinions(x: Table, y: NDArray[np.int64], classes: int, *, seed: int) -> Table | None:
    """Return the probability of each class by trees that did not see the row (n, classes); None if too few rows.

    Args:
        x: Inputs (n, width).
        y: Classes (n,), -1 where unknown: these rows are judged but not learned from.
        classes: Number of classes.
        seed: Of everything random.
    """
    known = np.flatnonzero(y >= 0)
    if len(known) < FEWEST or not x.shape[1] or len(np.unique(y[known])) < 2:
        return None
    found = _forests(x, y, known, classes, seed)
    if classes > 2 or len(known) < _BOOSTED_ROWS:  # boosting grows a tree a class: too dear, and no better
        return found
    learned = y >= 0
    first = _blend(found, _boosted(x, y, learned, classes, seed))
    own = first[np.arange(len(y)), y.clip(0)]
    second = _boosted(x, y, learned & (own >= _DOUBTED * first.max(1)), classes, seed)
    return _blend(first, _blend(found, second))


def _forests(x: Table, y: NDArray[np.int64], known: NDArray[np.int64], classes: int, seed: int) -> Table:
    """Return the mean of the two forests (n, classes); rows without a label by all trees."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    width = x.shape[1]
    few = len(known) <= _FEW_ROWS
    common: dict[str, Any] = {
        "n_estimators": 60 if few else 40,
        "bootstrap": True,
        "oob_score": True,
        "min_samples_leaf": _LEAF,
        "random_state": seed,
        "n_jobs": 1,
    }
    wide = max(1, min(round(0.7 * width), _WIDEST))
    total = np.zeros((len(y), classes), np.float32)
    for make, tried in ((RandomForestClassifier, "sqrt"), (ExtraTreesClassifier, wide)):
        model = make(max_features=tried, **common)
        model.fit(x[known], y[known])
        place = model.classes_.astype(np.int64)
        total[np.ix_(known, place)] += np.nan_to_num(model.oob_decision_function_, nan=1 / len(place))
        unknown = np.flatnonzero(y < 0)
        if len(unknown):
            total[np.ix_(unknown, place)] += model.predict_proba(x[unknown])
    return np.asarray(total / 2, np.float32)


def _boosted(x: Table, y: NDArray[np.int64], learned: NDArray[np.bool_], classes: int, seed: int) -> Table:
    """Return out-of-fold probabilities of gradient-boosted trees fitted to the rows in `learned` (n, classes)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    fold = np.random.default_rng(seed).permutation(len(y)) % _FOLDS
    out = np.zeros((len(y), classes), np.float32)
    for held in range(_FOLDS):
        seen = learned & (fold != held)
        if len(np.unique(y[seen])) < 2:
            out[fold == held, :] = 1 / classes
            continue
        model = HistGradientBoostingClassifier(
            max_iter=100, learning_rate=0.1, min_samples_leaf=20, early_stopping=False, random_state=seed
        )
        model.fit(x[seen], y[seen])
        out[np.ix_(fold == held, model.classes_.astype(np.int64))] = model.predict_proba(x[fold == held])
    return out


def _blend(a: Table, b: Table) -> Table:
    """Return the normalised geometric mean of two opinions (n, classes)."""
    joined = np.sqrt(a.clip(_LEAST) * b.clip(_LEAST))
    return np.asarray(joined / joined.sum(1, keepdims=True), np.float32)
