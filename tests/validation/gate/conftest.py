from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from orchestai.validation.profile import ReferenceProfile
from orchestai.validation.settings import GateSettings
from orchestai.validation.source import Source

SETTINGS = GateSettings(sample_rows=1_500, null_draws=100)


def draw(rows: int, seed: int = 0) -> pd.DataFrame:
    """Draw rows of one population: numbers that hang together, a category, a count, a label they explain."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, rows)
    hidden = np.array([[-2, 0], [2, 0], [0, 3], [0, -3]])[group] + rng.standard_normal((rows, 2))
    return pd.DataFrame(
        {
            "a": hidden[:, 0],
            "b": hidden[:, 1] + 0.3 * rng.standard_normal(rows),
            "c": hidden.sum(1) + rng.standard_normal(rows),
            "count": rng.poisson(np.exp(0.4 * hidden[:, 0]).clip(max=20)),
            "kind": np.array(["north", "south", "east", "west"])[group],
            "label": np.where(hidden[:, 0] + 0.5 * rng.standard_normal(rows) > 0, "yes", "no"),
        }
    )


@pytest.fixture(scope="session")
def profile() -> ReferenceProfile:
    return ReferenceProfile.fit(Source(draw(3_000, 1)), SETTINGS, holdout=Source(draw(1_500, 2)), label="label")


@pytest.fixture
def fresh() -> pd.DataFrame:
    return draw(1_500, 3)


@pytest.fixture
def settings() -> GateSettings:
    return SETTINGS


@pytest.fixture
def draw_reference() -> pd.DataFrame:
    return draw(3_000, 1)
