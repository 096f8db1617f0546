"""Labels judged by trees, values that were lost, and what is drawn once."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai.validation.calibrate import joint_effect
from orchestai.validation.distinct import healthy_losses, lost_values
from orchestai.validation.localize.labels import suspects
from orchestai.validation.localize.trees import opinions
from orchestai.validation.space import smallest


def labelled(rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows)
    x = rng.standard_normal((rows, 4)).astype(np.float32)
    x[:, 0] += 3 * y
    return x, y


def test_flipped_labels_get_little_probability_and_rows_without_label_are_judged() -> None:
    x, y = labelled(400, 2, 0)
    wrong = np.zeros(400, bool)
    wrong[np.random.default_rng(1).permutation(400)[:40]] = True
    given = np.where(wrong, 1 - y, y)
    given[:5] = -1
    found = opinions(x, given, 2, seed=0)
    assert found is not None
    assert found.shape == (400, 2)
    assert found.sum(1) == pytest.approx(1.0, abs=1e-5)
    assert (found[:5].argmax(1) == y[:5]).all()
    own = found[np.arange(400), given.clip(0)][5:]
    assert own[wrong[5:]].mean() < 0.3 < 0.7 < own[~wrong[5:]].mean()


def test_a_row_is_not_judged_by_trees_that_saw_it() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((600, 3)).astype(np.float32), rng.integers(0, 2, 600)
    found = opinions(x, y, 2, seed=0)
    assert found is not None
    # Labels are noise: who saw a row would agree with it more often than chance.
    assert (found.argmax(1) == y).mean() == pytest.approx(0.5, abs=0.1)


def test_too_few_rows_or_one_class_are_not_judged() -> None:
    x, y = labelled(30, 2, 0)
    assert opinions(x, y, 2, seed=0) is None
    x, y = labelled(100, 2, 0)
    assert opinions(x, np.zeros(100, np.int64), 2, seed=0) is None


def test_a_label_is_called_wrong_below_a_share_of_the_most_likely_one() -> None:
    own = np.array([0.37, 0.38, 0.9, np.nan], np.float32)
    best = np.array([[1, 0.63, 0], [1, 0.62, 0], [0, 0.9, 0], [1, 0.8, -1]], np.float32)
    _, named = suspects(own, best, None)  # two classes: below 0.6 of the most likely one, 0.378 and 0.372
    assert named.tolist() == [True, False, False, False]


def test_a_resample_of_values_loses_what_resampling_loses() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2_000, 2)).astype(np.float32)
    drawn = values[rng.integers(0, 2_000, 2_000)]
    lost = lost_values(drawn, values)
    assert lost == pytest.approx(np.exp(-1), abs=0.03)  # (1 - 1/n)^n of the values are not drawn
    assert lost_values(rng.standard_normal((2_000, 2)).astype(np.float32), values) == pytest.approx(0, abs=1e-3)
    assert healthy_losses(values, 1_000, rng).max() == pytest.approx(0, abs=1e-3)
    assert lost_values(values[:10], values) is None


def test_effects_add_up_without_passing_one() -> None:
    assert joint_effect([0.5, 0.5, 0.0]) == 0.75
    assert joint_effect([1.0, 0.2]) == 1.0
    assert joint_effect([]) == 0.0


@pytest.mark.parametrize("width", [3, 50, 384, 1_000, 1_023])
def test_the_smallest_values_are_found_in_groups(width: int) -> None:
    table = np.random.default_rng(width).integers(0, 400, (20, width)).astype(np.float32)
    assert (np.sort(smallest(table, 3), 1) == np.sort(table, 1)[:, :3]).all()
