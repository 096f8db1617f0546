"""Scores of left-out rows follow from one inverse: they must equal those of a ridge fitted without the rows."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai.planner.hints import fit_hints, ridge_scores
from orchestai.training.hint_rows import cross_fitted_hints

WORDS = ["sum", "total", "write", "translate", "list", "picture", "call", "label", "answer", "code", "short", "mail"]


def _rows(count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=4)) for _ in range(count)]
    pooled = rng.normal(size=(count, 8)).astype(np.float32)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    return texts, pooled, (rng.random((count, 3)) < 0.4).astype(np.float32)


@pytest.mark.parametrize("held", [range(20), range(20, 40)])
def test_a_fold_is_scored_as_by_a_ridge_that_never_saw_it(held: range) -> None:
    texts, pooled, presence = _rows(60)
    groups = ["synthetic-0"] * 20 + ["synthetic-1"] * 20 + [f"real-{i // 2}" for i in range(20)]
    synthetic = np.array([group.startswith("synthetic") for group in groups])
    weights, scores = cross_fitted_hints(texts, pooled, presence, groups, synthetic)
    rest = [i for i in range(60) if i not in held]
    # A kernel of a ridge is linear in its features; words are weighed as for all rows.
    from orchestai.planner.hints import _bags, _weigh

    words = _weigh(_bags(texts), weights.idf).toarray()
    features = np.concatenate([words, pooled], axis=1)  # (N, V + H)
    mean = presence.mean(axis=0)
    kernel = features @ features.T
    dual = np.linalg.solve(kernel[np.ix_(rest, rest)] + np.eye(len(rest)), (presence - mean)[rest])
    expected = kernel[np.ix_(list(held), rest)] @ dual + mean
    np.testing.assert_allclose(scores[list(held)], expected, atol=1e-4)


def test_the_weights_score_new_texts_as_the_ridge_over_all_rows_does() -> None:
    texts, pooled, presence = _rows(40)
    synthetic = np.arange(40) < 20
    weights, _ = cross_fitted_hints(texts, pooled, presence, ["synthetic-0"] * 20 + ["real"] * 20, synthetic)
    fitted = ridge_scores(weights, texts, pooled)
    # A ridge with penalty 1 pulls its own rows towards the target, never past it on average.
    assert np.corrcoef(fitted.ravel(), presence.ravel())[0, 1] > 0.8


def test_without_synthetic_rows_nothing_changes() -> None:
    texts, pooled, presence = _rows(30)
    groups = [f"g{i // 3}" for i in range(30)]
    weights, scores = cross_fitted_hints(texts, pooled, presence, groups, np.zeros(30, dtype=bool))
    expected, expected_scores = fit_hints(texts, pooled, presence, groups)
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_array_equal(weights.words, expected.words)
