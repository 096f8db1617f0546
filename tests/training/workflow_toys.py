"""Small random workflows whose every assignment can be tried."""

from __future__ import annotations

import numpy as np

from orchestai.training.composition import Questions, Shape, compose
from orchestai.training.workflows import Outcomes, Workflows

SHAPES: list[Shape] = [((), (0,)), ((), (), (0, 1)), ((), (0,), (0,), (1, 2)), ((), (), ())]


def questions(size: int = 200, workers: int = 4, *, seed: int = 0) -> Questions:
    """Later workers are better, dearer and slower."""
    rng = np.random.default_rng(seed)
    ease = rng.random((size, 1))
    likely = np.clip(0.5 * ease + np.linspace(0.1, 0.45, workers), 0.02, 0.98)
    steps = np.arange(1, workers + 1)
    expected = Outcomes(likely, 1e-3 * steps * np.ones_like(likely), 1000.0 * steps * np.ones_like(likely))
    actual = Outcomes(
        (rng.random(likely.shape) < likely).astype(np.float64),
        expected.cost_usd,
        expected.latency_ms * np.exp(0.3 * rng.standard_normal(likely.shape)),
    )
    states = rng.standard_normal((size, 6)).astype(np.float32)
    return Questions(states, np.ones(likely.shape, dtype=np.bool_), expected, actual)


def workflows(count: int = 60, *, seed: int = 0, workers: int = 4) -> Workflows:
    """Compose some."""
    return compose(questions(workers=workers, seed=seed), SHAPES, count=count, best_single=workers - 1, seed=seed)
